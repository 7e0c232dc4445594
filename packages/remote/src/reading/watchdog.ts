/** Time limits. A watchdog owns a signal and aborts it when the work it watches takes too long, or is given up. */
import { abortedError, BlockError, type Clock } from '@diskgraph/core/driver'

/** See the top of the file. Stop it, or its timers keep running. */
export class Watchdog {
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal | undefined
  #last = 0
  #limit = Number.POSITIVE_INFINITY
  #what = ''
  #cancel: (() => void) | undefined
  readonly #clock: Clock

  /** The signal aborts with `outer`, with the reason of that. */
  constructor(clock: Clock, outer: AbortSignal | undefined) {
    this.#clock = clock
    this.#outer = outer
    if (outer?.aborted) this.#giveUp()
    else outer?.addEventListener('abort', this.#giveUp)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** From now on at most `limit` ms may pass between two calls of {@link moved}; else ETIMEDOUT, naming `what`. */
  expect(what: string, limit: number): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#what = what
    this.#limit = limit
    this.#last = this.#clock.now()
    if (Number.isFinite(limit) && !this.signal.aborted) this.#cancel = this.#clock.timeout(limit, this.#look)
  }

  /** Something happened. */
  moved(): void {
    this.#last = this.#clock.now()
  }

  stop(): void {
    this.#cancel?.()
    this.#outer?.removeEventListener('abort', this.#giveUp)
  }

  readonly #look = (): void => {
    const left = this.#last + this.#limit - this.#clock.now()
    if (left > 0.5) {
      this.#cancel = this.#clock.timeout(left, this.#look)
      return
    }
    this.#controller.abort(new BlockError('ETIMEDOUT', `${this.#what} (${this.#limit / 1000} s)`))
  }

  readonly #giveUp = (): void => {
    const { reason } = this.#outer as AbortSignal
    this.#controller.abort(reason instanceof BlockError ? reason : abortedError(this.#outer as AbortSignal))
  }
}
