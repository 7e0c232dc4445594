import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { type RangeHold, RangeLock } from '../src/request/range-lock.ts'

/** A request as the rules of the lock see it. */
interface Asked {
  readonly start: number
  readonly end: number
  readonly exclusive: boolean
  granted: boolean
  overtaken: number
}

/** The rules, without regard for time: everybody is looked at in order of arrival whenever something is released. */
class Rules {
  readonly #all: Asked[] = []

  ask(asked: Asked): void {
    this.#all.push(asked)
    this.#look(asked)
  }

  release(asked: Asked): void {
    this.#all.splice(this.#all.indexOf(asked), 1)
    for (const waiting of this.#all) if (!waiting.granted) this.#look(waiting)
  }

  #look(asked: Asked): void {
    const overlap = (other: Asked) => other.start < asked.end && asked.start < other.end
    const conflicts = this.#all.filter((one) => one !== asked && (one.exclusive || asked.exclusive) && overlap(one))
    const place = this.#all.indexOf(asked)
    const earlier = conflicts.filter((one) => !one.granted && this.#all.indexOf(one) < place)
    if (conflicts.some((one) => one.granted) || earlier.some((one) => one.overtaken === 64)) return
    asked.granted = true
    for (const one of earlier) one.overtaken++
  }
}

describe('a range lock', () => {
  const seed = Number(process.env.SEED ?? randomSeed())

  it.each([0, 1, 2, 3])(`grants what its rules grant, round %i (seed ${seed})`, async (round) => {
    const random = new Random(seed + round)
    const lock = new RangeLock()
    const rules = new Rules()
    const held: { asked: Asked; hold: RangeHold }[] = []
    const pending: Asked[] = []
    for (let step = 0; step < 1500; step++) {
      if (random.below(100) < 45 && held.length > 0) {
        const [one] = held.splice(random.below(held.length), 1)
        lock.release(one!.hold)
        rules.release(one!.asked)
      } else {
        const start = random.below(40)
        const end = start + random.below(round === 0 ? 4 : 20)
        const asked = { start, end, exclusive: random.below(4) === 0, granted: false, overtaken: 0 }
        const hold = lock.acquire(start, end - start, asked.exclusive)
        rules.ask(asked)
        if (hold instanceof Promise) {
          pending.push(asked)
          void hold.then((hold) => {
            pending.splice(pending.indexOf(asked), 1)
            held.push({ asked, hold })
          })
        } else held.push({ asked, hold })
      }
      await undefined
      expect(held.every(({ asked }) => asked.granted)).toBe(true)
      expect(pending.some(({ granted }) => granted)).toBe(false)
    }
  })

  it('serves waiters of one range in the order they came', async () => {
    const lock = new RangeLock()
    const first = lock.acquire(0, 10, true) as RangeHold
    const served: number[] = []
    const waiting = Array.from({ length: 300 }, async (_, i) => {
      const hold = await lock.acquire(i % 3, 10 - (i % 3), true)
      served.push(i)
      lock.release(hold)
    })
    lock.release(first)
    await Promise.all(waiting)
    expect(served).toEqual(Array.from({ length: 300 }, (_, i) => i))
  })

  it.each([
    ['the same range', () => [0, 512] as const],
    ['a hundred ranges', (i: number) => [(i % 100) * 512, 512] as const],
    ['all, and ranges of their own', (i: number) => (i % 8000 === 0 ? [0, 2 ** 40] : ([i * 512, 512] as const))],
    ['ranges that overlap', (i: number) => [i * 512, (((i * 7919) % 97) + 1) * 512] as const],
  ])('is done soon with 16,000 that want %s', async (_, range) => {
    const lock = new RangeLock()
    const begin = performance.now()
    await Promise.all(
      Array.from({ length: 16_000 }, async (_, i) => {
        const [offset = 0, length = 0] = range(i)
        const hold = await lock.acquire(offset, length, true)
        await undefined
        lock.release(hold)
      }),
    )
    expect(performance.now() - begin).toBeLessThan(5000)
  })
})
