import { onAbort } from '@diskgraph/core/driver'

/** A bounded number of things at the same time, first come first served. */
export class Slots {
  #free: number
  #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#free = count
  }

  /** Takes a slot; {@link release} it. Rejects with the reason of `signal` when that is aborted before. */
  acquire(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.reject(signal.reason)
    if (this.#free > 0) {
      this.#free--
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const enter = (): void => {
        leave()
        resolve()
      }
      const leave = onAbort(signal, () => {
        this.#waiting = this.#waiting.filter((other) => other !== enter)
        reject(signal.reason)
      })
      this.#waiting.push(enter)
    })
  }

  release(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free++
    else next()
  }
}
