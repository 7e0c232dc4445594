import { describe, expect, it } from 'vitest'
import { InFlight } from '../src/in-flight.ts'

/** Whether a promise has settled by now. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let over = false
  promise.then(() => {
    over = true
  })
  await new Promise<void>((resolve) => setImmediate(resolve))
  return over
}

describe('allocations on their way', () => {
  it('are of ranges that hold something', () => {
    const inFlight = new InFlight()
    for (const [start, end] of [
      [100, 1],
      [5, 5],
      [Number.NaN, 1],
    ] as const) {
      expect(() => inFlight.begin(start, end)).toThrow('no byte is in it')
    }
    expect(inFlight.isClear(0, 1000)).toBe(true)
  })

  it('stand in the way of what overlaps them, and of nothing else', () => {
    const inFlight = new InFlight()
    expect(inFlight.isClear(0, 1000)).toBe(true)
    inFlight.begin(100, 200)
    expect(inFlight.isClear(0, 100)).toBe(true)
    expect(inFlight.isClear(200, 300)).toBe(true)
    expect(inFlight.isClear(0, 101)).toBe(false)
    expect(inFlight.isClear(199, 300)).toBe(false)
  })

  it('end the clear part of a range where the first of them begins', () => {
    const inFlight = new InFlight()
    expect(inFlight.clearUntil(10, 50)).toBe(50)
    inFlight.begin(300, 400)
    const first = inFlight.begin(100, 200)
    expect(inFlight.clearUntil(0, 1000)).toBe(100)
    expect(inFlight.clearUntil(0, 50)).toBe(50)
    expect(inFlight.clearUntil(150, 1000)).toBe(150)
    expect(inFlight.clearUntil(200, 1000)).toBe(300)
    inFlight.end(first)
    expect(inFlight.clearUntil(0, 1000)).toBe(300)
  })

  it('are waited for, the first of a range; where there is none, nothing is', async () => {
    const inFlight = new InFlight()
    const second = inFlight.begin(300, 400)
    const first = inFlight.begin(100, 200)
    const waits = [inFlight.wait(150), inFlight.wait(0, 1000)]
    expect(await settled(inFlight.wait(200))).toBe(true)
    inFlight.end(second)
    expect(await Promise.all(waits.map(settled))).toEqual([false, false])
    inFlight.end(first)
    expect(await Promise.all(waits.map(settled))).toEqual([true, true])
    expect(inFlight.isClear(0, 1000)).toBe(true)
  })
})
