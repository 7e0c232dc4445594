/**
 * Turns of the event loop for loops that would not let it turn: what a format answers from memory settles at once, so
 * a loop over millions of such answers hears no signal until it ends.
 */

const longest = 20

/** Lets a loop wait for a turn of the event loop when it is time. */
export class EventLoop {
  readonly #signal: AbortSignal | undefined
  #last = performance.now()
  /** All who ask meanwhile wait for one turn: one each would keep the loop busy between two looks at signals. */
  #turning: Promise<void> | undefined

  constructor(signal?: AbortSignal) {
    this.#signal = signal
  }

  /** A promise to wait for every few milliseconds, else undefined. It rejects with the reason of an abort. */
  turn(): Promise<void> | undefined {
    if (this.#turning !== undefined) return this.#turning
    if (performance.now() - this.#last < longest) return undefined
    this.#turning = this.#turn()
    return this.#turning
  }

  async #turn(): Promise<void> {
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
    this.#last = performance.now()
    this.#turning = undefined
    this.#signal?.throwIfAborted()
  }
}
