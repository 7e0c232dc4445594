/**
 * Time and chance, as everything below the tools sees them. This is the one file of the libraries that asks the
 * system: a graph may be given others, and then the same seed gives the same run (the testkit's simulation does so).
 */

import { onAbort } from './aborts.ts'

/** Where a graph and its drivers get the time from. */
export interface Clock {
  /** Milliseconds of a clock that never goes back, with a fraction. */
  now(): number
  /** Milliseconds since the epoch. */
  wallTime(): number
  /** Calls `wake` once after `ms` milliseconds; the result takes that back. A pending call keeps a process alive. */
  timeout(ms: number, wake: () => void): () => void
  /** Calls `tick` every `ms` milliseconds until the result is called. It keeps no process alive. */
  interval(ms: number, tick: () => void): () => void
  /** Resolves when everything that is ready to run now has had a turn. */
  turn(): Promise<void>
}

/** A number from 0 (included) to 1 (excluded). */
export type RandomSource = () => number

/** The clock of the system. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  timeout(ms, wake) {
    const timer = setTimeout(wake, ms)
    return () => clearTimeout(timer)
  },
  interval(ms, tick) {
    const timer = setInterval(tick, ms) as unknown as { unref?(): void }
    timer.unref?.()
    return () => clearInterval(timer as unknown as number)
  },
  turn: () => new Promise(typeof setImmediate === 'function' ? (resolve) => setImmediate(resolve) : later),
}

function later(resolve: () => void): void {
  setTimeout(resolve, 0)
}

/** The system's chance; not for secrets. */
export const systemRandom: RandomSource = () => Math.random()

/** Resolves after `ms` milliseconds of `clock`, or rejects with the reason of `signal`. */
export function delay(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      cancel()
      reject(signal?.reason)
    }
    const cancel = clock.timeout(ms, () => {
      leave()
      resolve()
    })
    const leave = onAbort(signal, abort)
    if (signal?.aborted) abort()
  })
}
