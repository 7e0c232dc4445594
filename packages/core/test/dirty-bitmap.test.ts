import { DirtyBitmap } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))

/** Numbers from 0 to 1, the same for the same seed. */
function generator(start: number): () => number {
  let state = start >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let word = Math.imul(state ^ (state >>> 15), state | 1)
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61)
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The same by a set of indexes. */
class Model {
  readonly dirty = new Set<number>()
  readonly granularity: number
  size: number

  constructor(size: number, granularity: number) {
    this.size = size
    this.granularity = granularity
  }

  change(first: number, end: number, value: boolean): void {
    for (let i = first; i < end; i++) value ? this.dirty.add(i) : this.dirty.delete(i)
  }

  run(offset: number, value: boolean): { offset: number; length: number } | undefined {
    const { granularity, size } = this
    const total = Math.ceil(size / granularity)
    let index = Math.floor(offset / granularity)
    while (index < total && this.dirty.has(index) !== value) index++
    const start = value ? index * granularity : Math.max(offset, index * granularity)
    if (start >= size) return undefined
    let end = index
    while (end < total && this.dirty.has(end) === value) end++
    return { offset: start, length: Math.min(end * granularity, size) - start }
  }
}

describe(`a dirty bitmap (seed ${seed})`, () => {
  it.each([
    [512, 700_000],
    [4096, 20_000_000],
    [65536, 2 ** 28 + 5],
  ])('does what a set of granules of %s bytes does, over random operations', (granularity, most) => {
    const random = generator(seed)
    const below = (limit: number): number => Math.floor(random() * limit)
    const model = new Model(below(most), granularity)
    const bitmap = new DirtyBitmap(model.size, granularity)
    for (let i = 0; i < 600; i++) {
      const offset = below(model.size)
      const length = Math.floor(Math.exp(random() * Math.log(most)))
      const end =
        offset + length >= model.size
          ? Math.ceil(model.size / granularity)
          : Math.floor((offset + length) / granularity)
      const kind = below(10)
      if (kind < 5) {
        bitmap.set(offset, length)
        model.change(
          Math.floor(offset / granularity),
          Math.ceil(Math.min(offset + length, model.size) / granularity),
          true,
        )
      } else if (kind < 9) {
        bitmap.clear(offset, length)
        model.change(Math.ceil(offset / granularity), end, false)
      } else {
        const size = below(most)
        model.change(Math.ceil(size / granularity), Math.ceil(Math.max(size, model.size) / granularity), false)
        model.size = size
        bitmap.resize(size)
      }
      const at = below(most)
      expect(bitmap.dirtyBytes).toBe(model.dirty.size * granularity)
      expect(bitmap.nextDirty(at)).toEqual(at < model.size ? model.run(at, true) : undefined)
      expect(bitmap.nextClean(at)).toEqual(at < model.size ? model.run(at, false) : undefined)
      expect(bitmap.get(at)).toBe(model.dirty.has(Math.floor(at / granularity)))
    }
  })

  it('clears what it is asked to, above 2^32 granules', () => {
    const bitmap = new DirtyBitmap(2 ** 42, 512)
    bitmap.set(0, 2 ** 42)
    expect(bitmap.dirtyBytes).toBe(2 ** 42)
    bitmap.clear(0, 2 ** 39)
    expect(bitmap.dirtyBytes).toBe(2 ** 42 - 2 ** 39)
    expect(bitmap.nextDirty(0)).toEqual({ offset: 2 ** 39, length: 2 ** 42 - 2 ** 39 })
  })

  it('takes next to no time and memory on a disk of 8 PiB', () => {
    const before = process.memoryUsage()
    const start = performance.now()
    const bitmap = new DirtyBitmap(2 ** 53 - 512, 512)
    for (let i = 0; i < 1000; i++) {
      bitmap.set(i * 2 ** 43 + 12_345, 4096)
      expect(bitmap.nextDirty(i * 2 ** 43)?.offset).toBe(i * 2 ** 43 + 12_288)
    }
    expect(bitmap.nextClean(2 ** 52)).toMatchObject({ offset: 2 ** 52 })
    bitmap.resize(2 ** 52)
    bitmap.clear(0, 2 ** 52)
    expect(bitmap.nextDirty(0)).toBeUndefined()
    const after = process.memoryUsage()
    expect(performance.now() - start).toBeLessThan(1000)
    expect(after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed).toBeLessThan(2 ** 26)
  })

  it('merges another one, of whatever granularity, and refuses one of another size', () => {
    const fine = new DirtyBitmap(2 ** 20, 512)
    const coarse = new DirtyBitmap(2 ** 20, 65536)
    fine.set(70_000, 1)
    coarse.merge(fine)
    expect(coarse.nextDirty(0)).toEqual({ offset: 65536, length: 65536 })
    fine.merge(coarse)
    expect(fine.dirtyBytes).toBe(65536)
    expect(() => fine.merge(new DirtyBitmap(2 ** 21, 512))).toThrow('the sizes differ')
  })

  it('marks nothing while it is not enabled, and refuses a granularity that is no power of two', () => {
    const bitmap = new DirtyBitmap(2 ** 20, 512)
    bitmap.enabled = false
    bitmap.record(0, 2 ** 20)
    expect(bitmap.dirtyBytes).toBe(0)
    expect(() => new DirtyBitmap(2 ** 20, 1000)).toThrow('not a power of two')
  })
})

describe('a bitmap that was split', () => {
  it('stays as it is while its successor records, and joins it on top of its bits or in their place', () => {
    for (const keep of [true, false]) {
      const bitmap = new DirtyBitmap(2 ** 20, 65536)
      bitmap.record(0, 1)
      const successor = bitmap.split()
      for (const one of [bitmap, successor]) one.record(2 ** 19, 1)
      expect([bitmap.get(0), bitmap.get(2 ** 19)]).toEqual([true, false])
      expect([successor.get(0), successor.get(2 ** 19)]).toEqual([false, true])
      bitmap.join(keep)
      expect([bitmap.get(0), bitmap.get(2 ** 19)]).toEqual([keep, true])
      bitmap.record(2 ** 18, 1)
      expect(bitmap.get(2 ** 18)).toBe(true)
    }
  })

  it('has a successor that records nothing where it records nothing itself', () => {
    const bitmap = new DirtyBitmap(2 ** 20, 65536)
    bitmap.enabled = false
    const successor = bitmap.split()
    successor.record(0, 1)
    expect(successor.dirtyBytes).toBe(0)
  })
})

it('a bitmap of 8 TiB in units of 64 KiB takes 20 MB at most: no leaf takes more than its bits and a little', () => {
  const bitmap = new DirtyBitmap(2 ** 43, 65536)
  const before = process.memoryUsage().arrayBuffers
  for (let at = 0; at < 2 ** 43; at += 2 ** 16 * 1024) bitmap.set(at, 1)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20e6)
  expect(bitmap.dirtyBytes).toBe(2 ** 17 * 65536)
})
