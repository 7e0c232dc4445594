import { done } from '@diskgraph/core/driver'
import { describe, expect, it } from 'vitest'
import { forEachLimited, TaskPool } from '../src/concurrency.ts'

/** A promise that the test settles. */
function deferred(): { readonly promise: Promise<void>; resolve(): void; reject(error: unknown): void } {
  let resolve = () => {}
  let reject: (error: unknown) => void = () => {}
  const promise = new Promise<void>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Whether a promise has settled by now. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let over = false
  const note = (): void => {
    over = true
  }
  promise.then(note, note)
  await turn()
  return over
}

describe('forEachLimited', () => {
  it('runs on every item in order, with no more than the limit at a time', async () => {
    const gates = [1, 2, 3, 4, 5].map(() => deferred())
    const begun: number[] = []
    const all = forEachLimited([0, 1, 2, 3, 4], 2, (item) => {
      begun.push(item)
      return gates[item]!.promise
    })
    await turn()
    expect(begun).toEqual([0, 1])
    gates[1]!.resolve()
    await turn()
    expect(begun).toEqual([0, 1, 2])
    for (const gate of gates) gate.resolve()
    await all
    expect(begun).toEqual([0, 1, 2, 3, 4])
  })

  it('starts nothing after an error, and waits for what runs', async () => {
    const gates = [deferred(), deferred()]
    const begun: number[] = []
    const all = forEachLimited([0, 1, 2, 3], 2, (item) => {
      begun.push(item)
      return gates[item]!.promise
    })
    gates[0]!.reject('broken')
    expect(await settled(all)).toBe(false)
    gates[1]!.resolve()
    await expect(all).rejects.toBe('broken')
    expect(begun).toEqual([0, 1])
  })

  it('waits for what runs when one of them throws at once', async () => {
    const gate = deferred()
    const all = forEachLimited([0, 1], 2, (item) => {
      if (item === 1) throw 'broken'
      return gate.promise
    })
    expect(await settled(all)).toBe(false)
    gate.resolve()
    await expect(all).rejects.toBe('broken')
  })

  it('does nothing without items', async () => {
    await forEachLimited([], 4, () => Promise.reject('never'))
  })
})

describe('a pool of tasks', () => {
  it('counts requests that are on their way, and none that are done', async () => {
    const pool = new TaskPool()
    const [one, two] = [deferred(), deferred()]
    pool.add(done)
    expect(pool.pending).toBe(0)
    pool.add(one.promise)
    pool.add(two.promise)
    expect(pool.pending).toBe(2)
    one.resolve()
    await turn()
    expect(pool.pending).toBe(1)
    two.reject('broken')
    await turn()
    expect(pool.pending).toBe(0)
    await expect(pool.finish()).rejects.toBe('broken')
  })

  it('finishes when all have settled, with the first error there was', async () => {
    const pool = new TaskPool()
    const [one, two, three] = [deferred(), deferred(), deferred()]
    for (const { promise } of [one, two, three]) pool.add(promise)
    const finished = pool.finish()
    expect(pool.failed).toBe(false)
    two.reject('first')
    await turn()
    expect(pool.failed).toBe(true)
    one.reject('second')
    expect(await settled(finished)).toBe(false)
    three.resolve()
    await expect(finished).rejects.toBe('first')
  })

  it('without requests finishes at once', async () => {
    await new TaskPool().finish()
  })

  it('keeps an error that happened while requests were started, also an undefined one', async () => {
    const pool = new TaskPool()
    pool.fail(undefined)
    pool.fail('later')
    expect(pool.failed).toBe(true)
    await expect(pool.finish()).rejects.toBe(undefined)
  })

  it('lets go on who waits for fewer than a limit as soon as there are', async () => {
    const pool = new TaskPool()
    const gates = [deferred(), deferred(), deferred()]
    for (const { promise } of gates) pool.add(promise)
    const below = pool.below(2)
    await pool.below(4)
    gates[0]!.resolve()
    expect(await settled(below)).toBe(false)
    gates[1]!.resolve()
    expect(await settled(below)).toBe(true)
    gates[2]!.resolve()
    await pool.finish()
  })
})
