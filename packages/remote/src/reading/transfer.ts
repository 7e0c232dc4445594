/** One range on its way into memory, and those who wait for parts of it. */
import { abortedError, onAbort } from '@diskgraph/core/driver'

interface Waiter {
  readonly upTo: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** A range that is being transferred, or was. Bytes can be read as soon as they are there. */
export class Transfer {
  readonly start: number
  readonly end: number
  readonly bytes: Uint8Array
  /** It goes on without readers: it was started ahead of them, or has served one. */
  ahead: boolean
  /** How many reads use it now. */
  readers = 0
  /** How many have found it there. */
  hits = 0
  #filled = 0
  #failure: { readonly error: unknown } | undefined
  #waiters: Waiter[] = []
  readonly #controller = new AbortController()

  constructor(start: number, end: number, ahead: boolean) {
    this.start = start
    this.end = end
    this.bytes = new Uint8Array(end - start)
    this.ahead = ahead
  }

  get length(): number {
    return this.end - this.start
  }

  /** All bytes are there. */
  get complete(): boolean {
    return this.#filled === this.bytes.length
  }

  /** Aborted by {@link giveUp}. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Takes the next bytes. */
  fill(offset: number, chunk: Uint8Array): void {
    this.bytes.set(chunk, offset - this.start)
    this.#filled = offset - this.start + chunk.length
    if (this.#waiters.length === 0) return
    const ready = this.#waiters.filter(({ upTo }) => upTo <= this.#filled)
    this.#waiters = this.#waiters.filter(({ upTo }) => upTo > this.#filled)
    for (const { resolve } of ready) resolve()
  }

  /** Ends it without the missing bytes. */
  fail(error: unknown): void {
    this.#failure = { error }
    const waiters = this.#waiters
    this.#waiters = []
    for (const { reject } of waiters) reject(error)
  }

  giveUp(): void {
    this.#controller.abort()
  }

  /** Whether the bytes before `end` are there. */
  has(end: number): boolean {
    return end - this.start <= this.#filled
  }

  /** Resolves when the bytes before `end` are there; rejects when they will not be, or `signal` is aborted. */
  wait(end: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.has(end)) return Promise.resolve()
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error)
    if (signal?.aborted) return Promise.reject(abortedError(signal))
    return new Promise((resolve, reject) => {
      let settled: (() => void) | undefined
      const waiter: Waiter = {
        upTo: end - this.start,
        resolve: () => {
          settled?.()
          resolve()
        },
        reject: (error) => {
          settled?.()
          reject(error)
        },
      }
      this.#waiters.push(waiter)
      if (signal === undefined) return
      settled = onAbort(signal, () => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter)
        waiter.reject(abortedError(signal))
      })
    })
  }
}
