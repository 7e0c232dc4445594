import { describe, expect, it } from 'vitest'
import { firstDifference, twinOf } from '../src/compare.ts'
import { countVotes, winnerOf } from '../src/vote.ts'

const equal = (a: string, b: string): boolean => a === b

describe('votes', () => {
  it('count who says the same, and leave the silent out', () => {
    expect(countVotes(['a', undefined, 'b', 'a'], equal)).toEqual([
      { value: 'a', voters: [0, 3] },
      { value: 'b', voters: [2] },
    ])
  })

  it('are won by the most, and of several by the version that was met last', () => {
    expect(winnerOf(countVotes(['a', 'b', 'b'], equal))?.value).toBe('b')
    expect(winnerOf(countVotes(['a', 'b'], equal))?.value).toBe('b')
    expect(winnerOf(countVotes(['b', 'a', 'a', 'b', 'c'], equal))?.value).toBe('a')
    expect(winnerOf([])).toBe(undefined)
  })
})

describe('comparison of buffers', () => {
  it('finds the first byte that differs, at every alignment and length', () => {
    for (let shift = 0; shift < 5; shift++) {
      for (let length = 0; length < 40; length++) {
        const a = new Uint8Array(new ArrayBuffer(64), shift, length).map((_, i) => i)
        const view = new Uint8Array(new ArrayBuffer(64), shift, length)
        view.set(a)
        for (const b of [twinOf(view), new Uint8Array(new ArrayBuffer(64), 3, length)]) {
          b.set(view)
          expect(firstDifference(view, b)).toBe(-1)
          for (let at = length - 1; at >= 0; at--) {
            b[at] = 0xff
            expect(firstDifference(view, b)).toBe(at)
          }
        }
      }
    }
  })
})
