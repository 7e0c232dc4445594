import { describe, expect, it } from 'vitest'
import { done, onAbort } from '../src/driver.ts'
import { ChangeLock } from '../src/graph/change-lock.ts'
import { systemClock } from '../src/index.ts'
import { Activity, WaitingLine } from '../src/request/activity.ts'
import { isPending, settle } from './fake-drivers.ts'

/** A signal that counts who listens to it. */
function listening() {
  const controller = new AbortController()
  const { signal } = controller
  let count = 0
  const add = signal.addEventListener.bind(signal)
  const remove = signal.removeEventListener.bind(signal)
  Object.assign(signal, {
    addEventListener: (...given: Parameters<typeof add>) => {
      count++
      add(...given)
    },
    removeEventListener: (...given: Parameters<typeof remove>) => {
      count--
      remove(...given)
    },
  })
  return { controller, signal, listeners: () => count }
}

describe('activity', () => {
  it('is idle at once when nothing is under way, and when the last piece of work has ended', async () => {
    const activity = new Activity()
    expect(activity.idle()).toBe(done)
    activity.enter()
    activity.enter()
    const waits = [activity.idle(), activity.idle()]
    activity.leave()
    for (const wait of waits) expect(await isPending(wait)).toBe(true)
    activity.leave()
    await Promise.all(waits)
    expect(activity.count).toBe(0)
    activity.enter()
    const again = activity.idle()
    expect(await isPending(again)).toBe(true)
    activity.leave()
    await again
  })
})

describe('a waiting line', () => {
  it('lets all go on in the order in which they came, and who comes then waits for the next time', async () => {
    const line = new WaitingLine()
    const order: number[] = []
    const waits = [1, 2, 3].map((i) => line.wait().then(() => void order.push(i)))
    expect(await isPending(waits[0] as Promise<void>)).toBe(true)
    line.wake()
    const late = line.wait()
    await Promise.all(waits)
    expect(order).toEqual([1, 2, 3])
    expect(await isPending(late)).toBe(true)
    line.wake()
    await late
  })

  it('is left when the signal is aborted, or was before, and nobody listens to the signal then', async () => {
    const line = new WaitingLine()
    const { controller, signal, listeners } = listening()
    const first = line.wait(signal)
    line.wake()
    await first
    expect(listeners()).toBe(0)
    const second = line.wait(signal)
    const other = line.wait()
    controller.abort(new Error('enough'))
    await expect(second).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(await isPending(other)).toBe(true)
    await expect(line.wait(signal)).rejects.toMatchObject({ code: 'ECANCELED', cause: signal.reason })
    line.wake()
    await other
  })
})

describe('the change lock', () => {
  it('runs one after the other, whether they fail or not, and gives the results', async () => {
    const lock = new ChangeLock(systemClock, () => undefined)
    const order: string[] = []
    const step = (name: string, failing = false) =>
      lock.run(async () => {
        order.push(`${name} begins`)
        await settle()
        order.push(`${name} ends`)
        if (failing) throw new Error(name)
        return name
      })
    const results = await Promise.allSettled([step('a'), step('b', true), step('c')])
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(results[2]).toMatchObject({ value: 'c' })
  })

  it('is not waited for any longer when the signal is aborted, and nobody gets past who holds it', async () => {
    const lock = new ChangeLock(systemClock, () => undefined)
    let end = (): void => undefined
    const first = lock.run(
      () =>
        new Promise<void>((resolve) => {
          end = resolve
        }),
    )
    const { controller, signal, listeners } = listening()
    const ran: string[] = []
    const second = lock.run(async () => ran.push('second'), signal)
    const third = lock.run(async () => ran.push('third'))
    controller.abort(new Error('enough'))
    await expect(second).rejects.toMatchObject({ code: 'ECANCELED', cause: signal.reason })
    await expect(lock.run(async () => ran.push('late'), signal)).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(await isPending(third)).toBe(true)
    expect(ran).toEqual([])
    end()
    await Promise.all([first, third])
    expect(ran).toEqual(['third'])
    expect(listeners()).toBeLessThanOrEqual(1)
  })

  it('listens to a signal no longer than until its turn', async () => {
    const lock = new ChangeLock(systemClock, () => undefined)
    const { controller, signal, listeners } = listening()
    const result = await lock.run(async () => {
      expect(listeners()).toBe(0)
      controller.abort()
      return 5
    }, signal)
    expect(result).toBe(5)
  })
})

it('has one listener on a signal however many wait for it, and none when the last of them has left', async () => {
  const { controller, signal, listeners } = listening()
  const first = onAbort(signal, () => {})
  const others = Array.from({ length: 20 }, () => onAbort(signal, () => {}))
  expect(listeners()).toBe(1)
  for (const leave of [first, first, ...others]) leave()
  expect(listeners()).toBe(0)
  let told = 0
  onAbort(signal, () => told++)
  onAbort(signal, () => told++)()
  controller.abort()
  expect(told).toBe(1)
})
