import { type Clock, delay } from '@diskgraph/core/driver'

/** Milliseconds of work that may be caught up with after the job was held up by something else. */
const burst = 100

/** Keeps a job below a number of bytes per second. */
export class RateLimit {
  readonly #clock: Clock
  readonly #signal: AbortSignal | undefined
  #speed: number
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

  /** Bytes per second from now on. What was moved before is forgotten. */
  set speed(speed: number) {
    this.#speed = speed
    this.#paid = this.#clock.now()
  }

  /** Milliseconds until the next bytes may be moved. */
  due(): number {
    return Math.max(0, this.#paid - this.#clock.now())
  }

  /** Counts `length` bytes that are moved now. */
  pay(length: number): void {
    this.#paid = Math.max(this.#paid, this.#clock.now() - burst) + (length / this.#speed) * 1000
  }

  /** Waits until `length` more bytes may be moved; undefined when that is now. */
  wait(length: number): Promise<void> | undefined {
    const due = this.due()
    this.pay(length)
    return due <= 0 ? undefined : delay(this.#clock, due, this.#signal)
  }
}
