import { Random } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { areEqual, firstDifference, haveEqualWords, isZeroRange } from '../src/engine/bytes.ts'
import { zeroRuns } from '../src/engine/zero-runs.ts'

describe('bytes', () => {
  it('are compared the same with and without help of the runtime, wherever they begin', () => {
    const random = new Random(1)
    for (let i = 0; i < 2000; i++) {
      const length = random.below(40)
      const [one, other] = [new Uint8Array(60), new Uint8Array(60)].map((buf) => {
        const start = random.below(8)
        return buf.fill(9).subarray(start, start + length)
      }) as [Uint8Array, Uint8Array]
      const place = random.below(60)
      if (place < length) other[place] = random.pick([9, 200])
      const equal = place >= length || other[place] === 9
      expect(haveEqualWords(one, other)).toBe(equal)
      expect(areEqual(one, other)).toBe(equal)
    }
  })

  it('differ first in the unit that is told', () => {
    for (const place of [0, 511, 512, 70_000, 99_999]) {
      const other = new Uint8Array(100_000)
      other[place] = 1
      other[99_999] = 1
      expect(firstDifference(new Uint8Array(100_000), other, 512)).toBe(Math.floor(place / 512) * 512)
    }
    expect(firstDifference(new Uint8Array(1000), new Uint8Array(1000), 512)).toBe(undefined)
  })

  it('are zero only if all of them are', () => {
    const buf = new Uint8Array(200_000)
    expect(isZeroRange(buf, 0, buf.length)).toBe(true)
    for (const place of [1, 65_535, 65_536, 150_000]) {
      buf[place] = 1
      expect(isZeroRange(buf, 0, buf.length)).toBe(false)
      expect(isZeroRange(buf, place + 1, buf.length - place - 1)).toBe(true)
      buf[place] = 0
    }
  })
})

describe('runs of zeroes', () => {
  it('are judged by units that are aligned in the disk', () => {
    const buf = new Uint8Array(1000)
    buf[100] = 1
    expect(zeroRuns(buf, 1000, 512)).toEqual([
      { start: 0, length: 24, zero: true },
      { start: 24, length: 512, zero: false },
      { start: 536, length: 464, zero: true },
    ])
    expect(zeroRuns(buf, 1000, 0)).toEqual([{ start: 0, length: 1000, zero: false }])
    expect(zeroRuns(new Uint8Array(0), 0, 512)).toEqual([])
  })
})
