import type { Clock } from '@diskgraph/core'
import { RateLimit } from '../engine/rate-limit.ts'
import { Cancelled } from './transaction.ts'

/** When the work of a job may go on: paused, held, too fast for its speed, asleep. */
export class Pace {
  /** Whether it sleeps. */
  asleep = false
  readonly #clock: Clock
  readonly #signal: AbortSignal
  readonly #limit: RateLimit
  readonly #sleepers = new Set<() => void>()
  #paused = false
  /** Sections that it waits for the end of. */
  #held = 0
  #speed: number

  constructor(clock: Clock, speed: number, signal: AbortSignal) {
    this.#clock = clock
    this.#signal = signal
    this.#speed = speed
    this.#limit = new RateLimit(clock, speed || Number.POSITIVE_INFINITY, undefined)
  }

  /** Paused by a person or an error. What changes it wakes who sleeps, as do {@link hold} and a new speed. */
  get paused(): boolean {
    return this.#paused
  }

  set paused(paused: boolean) {
    this.#paused = paused
    this.wake()
  }

  /** Stops it until the result is called. */
  hold(): () => void {
    this.#held++
    this.wake()
    return () => {
      this.#held--
      this.wake()
    }
  }

  get stopped(): boolean {
    return this.#paused || this.#held > 0
  }

  /** Bytes per second; 0: no limit. */
  get speed(): number {
    return this.#speed
  }

  set speed(speed: number) {
    this.#speed = speed
    this.#limit.speed = speed || Number.POSITIVE_INFINITY
    this.wake()
  }

  /** Milliseconds until more may be done. */
  due(): number {
    return this.#limit.due()
  }

  /** Counts bytes that were moved against the speed. */
  pay(length: number): void {
    this.#limit.pay(length)
  }

  /** Waits until `ms` have passed, or {@link wake}. Throws when the job is cancelled already. */
  async sleep(ms?: number): Promise<void> {
    if (this.#signal.aborted) throw new Cancelled()
    this.asleep = true
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#sleepers.delete(wake)
        cancel?.()
        resolve()
      }
      const cancel = ms === undefined ? undefined : this.#clock.timeout(ms, wake)
      this.#sleepers.add(wake)
    })
    this.asleep = false
  }

  /** Sleeps for all of `ms`, whatever wakes it. Throws when the job is cancelled. */
  async sleepFor(ms: number): Promise<void> {
    const end = this.#clock.now() + ms
    for (let left = ms; left > 0; left = end - this.#clock.now()) await this.sleep(left)
  }

  /** Sleeps for as long as it is stopped, and not cancelled. */
  async whileStopped(): Promise<void> {
    while (this.stopped && !this.#signal.aborted) await this.sleep()
  }

  wake(): void {
    for (const wake of [...this.#sleepers]) wake()
  }
}
