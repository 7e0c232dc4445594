/** Time limits. A watchdog owns a signal and aborts it when the work it watches takes too long, or is given up. */
import { abortedError, BlockError } from '@diskgraph/core'

/** See the top of the file. Stop it, or its timers keep running. */
export class Watchdog {
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal | undefined
  #last = 0
  #limit = Number.POSITIVE_INFINITY
  #what = ''
  #timer: ReturnType<typeof setTimeout> | undefined

  /** The signal aborts with `outer`, with the reason of that. */
  constructor(outer: AbortSignal | undefined) {
    this.#outer = outer
    if (outer?.aborted) this.#giveUp()
    else outer?.addEventListener('abort', this.#giveUp)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** From now on at most `limit` ms may pass between two calls of {@link moved}; else ETIMEDOUT, naming `what`. */
  expect(what: string, limit: number): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#what = what
    this.#limit = limit
    this.#last = performance.now()
    if (Number.isFinite(limit) && !this.signal.aborted) this.#timer = setTimeout(this.#look, limit)
  }

  /** Something happened. */
  moved(): void {
    this.#last = performance.now()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#outer?.removeEventListener('abort', this.#giveUp)
  }

  readonly #look = (): void => {
    const left = this.#last + this.#limit - performance.now()
    if (left > 0.5) {
      this.#timer = setTimeout(this.#look, left)
      return
    }
    this.#controller.abort(new BlockError('ETIMEDOUT', `${this.#what} (${this.#limit / 1000} s)`))
  }

  readonly #giveUp = (): void => {
    const { reason } = this.#outer as AbortSignal
    this.#controller.abort(reason instanceof BlockError ? reason : abortedError(this.#outer as AbortSignal))
  }
}

/** Resolves after `ms`; rejects with the reason of `signal` when that is aborted first. */
export function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason)
      return
    }
    const giveUp = (): void => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', giveUp)
      resolve()
    }, ms)
    signal.addEventListener('abort', giveUp, { once: true })
  })
}
