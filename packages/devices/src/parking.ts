/** Where requests wait that a stopped guest, a change of the medium or an error holds. None of them is lost. */

import { abortedError } from '@diskgraph/core/driver'

interface Parked {
  /** The error that holds it; undefined for one that was not begun. */
  readonly error: unknown
  go(): void
  fail(error: unknown): void
}

/** See the top of the file. */
export class Parking {
  readonly #parked = new Set<Parked>()

  /** Waits until {@link release}. Fails with `error` when the device ends first, ECANCELED when the signal is aborted. */
  wait(error: unknown, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(abortedError(signal))
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#parked.delete(parked)
        signal?.removeEventListener('abort', abort)
      }
      const go = (): void => {
        leave()
        resolve()
      }
      const fail = (reason: unknown): void => {
        leave()
        reject(reason)
      }
      const abort = (): void => fail(abortedError(signal as AbortSignal))
      const parked: Parked = { error, go, fail }
      this.#parked.add(parked)
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  /** Lets all go on, in the order in which they came. */
  release(): void {
    for (const parked of [...this.#parked]) parked.go()
  }

  /** Fails all: with the error that holds them, or `closed`. */
  end(closed: () => unknown): void {
    for (const parked of [...this.#parked]) parked.fail(parked.error ?? closed())
  }
}
