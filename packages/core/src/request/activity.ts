/** Counts pieces of work under way, and tells when none is. */
import { onAbort } from '../aborts.ts'
import { done } from '../contract/contract.ts'
import { abortedError } from '../errors.ts'

/** See the top of the file. */
export class Activity {
  count = 0
  #idle: (() => void)[] = []

  enter(): void {
    this.count++
  }

  leave(): void {
    this.count--
    if (this.count > 0 || this.#idle.length === 0) return
    const idle = this.#idle
    this.#idle = []
    for (const wake of idle) wake()
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    return this.count === 0 ? done : new Promise((resolve) => this.#idle.push(resolve))
  }
}

/** Pieces of work that wait for their turn, in the order they came. */
export class WaitingLine {
  #waiting = new Set<() => void>()

  /** Resolves at the next {@link wake}; ECANCELED when `signal` is aborted first. */
  wait(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(abortedError(signal))
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        leave()
        resolve()
      }
      const leave = onAbort(signal, () => {
        this.#waiting.delete(wake)
        reject(abortedError(signal as AbortSignal))
      })
      this.#waiting.add(wake)
    })
  }

  wake(): void {
    const waiting = this.#waiting
    this.#waiting = new Set()
    for (const resume of waiting) resume()
  }
}
