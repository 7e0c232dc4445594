import { describe, expect, it } from 'vitest'
import { parseSize } from '../src/driver.ts'
import { systemClock } from '../src/index.ts'
import { defaultLimits, resolveLimits } from '../src/request/limits.ts'
import { RequestCounter, Statistics } from '../src/request/statistics.ts'

describe('statistics', () => {
  function counter() {
    let now = 0
    const clock = { ...systemClock, now: () => now }
    const at = (ms: number): void => {
      now = ms
    }
    return { counter: new RequestCounter(clock), clock, at }
  }

  it('count what has ended, what failed, and the time of all', () => {
    const { counter: reads, at } = counter()
    at(10)
    expect(reads.start(100)).toBe(10)
    expect(reads.start(50)).toBe(10)
    expect(reads.start(7)).toBe(10)
    at(12)
    reads.end()
    expect(reads.totals()).toEqual({ bytes: 157, operations: 1, failed: 0, totalTimeNs: 6e6 })
    at(15)
    reads.fail()
    reads.end()
    at(99)
    expect(reads.totals()).toEqual({ bytes: 157, operations: 2, failed: 1, totalTimeNs: 12e6 })
  })

  it('count each kind apart', () => {
    const { clock } = counter()
    const statistics = new Statistics(clock)
    statistics.read.start(1)
    const { read, write, flush, discard } = statistics
    expect([read, write, flush, discard].map(({ bytes }) => bytes)).toEqual([1, 0, 0, 0])
  })
})

describe('limits', () => {
  it('are those of anything where none are declared', () => {
    expect(resolveLimits(undefined)).toBe(defaultLimits)
    expect(resolveLimits({})).toEqual(defaultLimits)
    expect(defaultLimits.maxTransfer).toBe(2147483136)
  })

  it('are at least one unit long', () => {
    const limits = resolveLimits({ alignment: 512, maxTransfer: 1, maxWriteZeroes: 1, maxDiscard: 1 })
    expect([limits.maxTransfer, limits.maxWriteZeroes, limits.maxDiscard]).toEqual([512, 512, 512])
    const units = { writeZeroesAlignment: 1024, discardAlignment: 2048, maxWriteZeroes: 1, maxDiscard: 1 }
    expect(resolveLimits(units)).toEqual({ ...defaultLimits, ...units, maxWriteZeroes: 1024, maxDiscard: 2048 })
    expect(resolveLimits({ maxTransfer: 5000, optimalTransfer: 7 })).toEqual({
      ...defaultLimits,
      maxTransfer: 5000,
      optimalTransfer: 7,
    })
  })
})

describe('a size as people write it', () => {
  it.each([
    ['512', 512],
    ['512b', 512],
    ['1k', 1024],
    ['2M', 2 ** 21],
    ['3g', 3 * 2 ** 30],
    ['1T', 2 ** 40],
    ['1p', 2 ** 50],
    ['1E', 2 ** 60],
    ['1.5k', 1536],
    ['1.k', 1024],
    ['0.0001k', 0],
    [' 7 ', 7],
    ['0x20', 32],
    ['0X20', 32],
    ['0xb', 11],
    ['15E', 15 * 2 ** 60],
    ['16E', undefined],
    ['0x20k', undefined],
    ['1.5', undefined],
    ['1.5b', undefined],
    ['', undefined],
    ['k', undefined],
    ['1kk', undefined],
    ['-1', undefined],
    ['1x', undefined],
    ['a1', undefined],
  ])('%j is %s bytes', (text, size) => {
    expect(parseSize(text)).toBe(size)
  })
})
