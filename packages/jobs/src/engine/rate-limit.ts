import { type Clock, delay } from '@diskgraph/core/driver'

/** Milliseconds of work that may be caught up with after the job was held up by something else. */
const burst = 100

/** Keeps a job below a number of bytes per second. */
export class RateLimit {
  readonly #clock: Clock
  readonly #speed: number
  readonly #signal: AbortSignal | undefined
  /** When everything that was let through so far is paid for. */
  #paid: number

  constructor(clock: Clock, speed: number, signal: AbortSignal | undefined) {
    this.#clock = clock
    this.#speed = speed
    this.#signal = signal
    this.#paid = clock.now()
  }

  /** The longest piece of work that keeps the rate even. */
  get longestPiece(): number {
    return Math.ceil((this.#speed * burst) / 1000)
  }

  /** Waits until `length` more bytes may be moved; undefined when that is now. */
  wait(length: number): Promise<void> | undefined {
    const now = this.#clock.now()
    const begin = Math.max(this.#paid, now - burst)
    this.#paid = begin + (length / this.#speed) * 1000
    return begin <= now ? undefined : delay(this.#clock, begin - now, this.#signal)
  }
}
