/**
 * What a format answers from memory settles at once, so a loop over millions of such answers would let nobody else run,
 * and would hear no signal until it ends. It runs for a time slice, then waits for a turn of the event loop.
 */
import type { Clock } from './clock.ts'
import { throwIfAborted } from './errors.ts'

const slice = 20

/** Tells a loop when its time slice is over. */
export class TimeSlice {
  readonly #clock: Clock
  readonly #signal: AbortSignal | undefined
  #since: number
  /** All who ask meanwhile wait for one turn: one each would keep the loop busy between two looks at signals. */
  #turning: Promise<void> | undefined

  constructor(clock: Clock, signal: AbortSignal | undefined) {
    this.#clock = clock
    this.#signal = signal
    this.#since = clock.now()
  }

  /** A promise to wait for when the slice is over, else undefined. It rejects when the signal is aborted. */
  end(): Promise<void> | undefined {
    if (this.#turning !== undefined) return this.#turning
    if (this.#clock.now() - this.#since < slice) return undefined
    this.#turning = this.#turn()
    return this.#turning
  }

  async #turn(): Promise<void> {
    await this.#clock.turn()
    this.#since = this.#clock.now()
    this.#turning = undefined
    throwIfAborted(this.#signal)
  }
}
