import { Model, type Operation, OperationGenerator, Random } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const write = (offset: number, ...bytes: number[]): Operation => ({
  kind: 'write',
  offset,
  data: new Uint8Array(bytes),
  flags: 0,
})

describe('the reference model', () => {
  it('expects the old or the new value while a write runs, and the new one afterwards', () => {
    const model = new Model(new Uint8Array(8))
    const batch = [write(2, 5, 6)]
    expect(model.faultOfRead(0, new Uint8Array([0, 0, 5, 0]), batch)).toBeUndefined()
    expect(model.faultOfRead(0, new Uint8Array([0, 0, 9, 0]), batch)).toBe('byte at 2 reads as 9 instead of 0 or 5')
    expect(model.apply(batch)).toEqual([])
    model.settled()
    expect(model.faultOfRead(2, new Uint8Array([5, 0]))).toBe('byte at 3 reads as 0 instead of 6')
  })

  it('lets overlapping writes end in any order, byte by byte, and remembers which it was', () => {
    const model = new Model(new Uint8Array(4))
    expect(model.apply([write(0, 1, 1), write(0, 2, 2)])).toHaveLength(2)
    expect(model.settle(0, new Uint8Array([1, 2]))).toBeUndefined()
    expect(model.settle(0, new Uint8Array([0, 2]))).toBe('byte at 0 reads as 0 instead of 0 or 1 or 2')
    model.settled()
    expect(model.faultOfRead(1, new Uint8Array([1]))).toBeDefined()
  })

  it('lets a discarded byte stay, read as zero, or as what is below', () => {
    const model = new Model(new Uint8Array([7, 7, 7]), new Uint8Array([9, 9, 9]))
    model.apply([{ kind: 'discard', offset: 0, length: 3 }])
    expect(model.settle(0, new Uint8Array([7, 0, 9]))).toBeUndefined()
    expect(model.settle(0, new Uint8Array([7, 8, 9]))).toBe('byte at 1 reads as 8 instead of 7 or 0')
  })
})

describe('random operations', () => {
  const settings = { size: 100_000, weights: { read: 1, write: 1, zeroes: 1, discard: 1, flush: 1 }, alignment: 512 }

  it('are the same for the same seed', () => {
    const make = () =>
      Array.from(
        { length: 50 },
        (
          (g) => () =>
            g.next()
        )(new OperationGenerator(settings, new Random(5))),
      )
    expect(make()).toEqual(make())
  })

  it('are aligned and inside the disk', () => {
    const generator = new OperationGenerator(settings, new Random(6))
    for (let i = 0; i < 2000; i++) {
      const { offset, length } = generator.range()
      expect(offset % 512 === 0 && length % 512 === 0 && length > 0 && offset + length <= 100_000).toBe(true)
    }
  })

  it('come from numbers that are spread evenly', () => {
    const random = new Random(7)
    const counts = new Array(10).fill(0)
    for (let i = 0; i < 10_000; i++) counts[random.below(10)]++
    for (const count of counts) expect(count).toBeGreaterThan(850)
    expect(new Random(2 ** 40 + 1).word()).not.toBe(new Random(1).word())
  })
})
