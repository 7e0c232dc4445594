/** One listener per signal, whatever the number of those who wait: runtimes warn of more than ten, and each costs time. */

const waiting = new WeakMap<AbortSignal, Waiting>()

/** Calls `callback` when `signal`, which is not aborted yet, is; the result takes that back. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return nothing
  let all = waiting.get(signal)
  if (all === undefined) {
    all = new Waiting(signal)
    waiting.set(signal, all)
  }
  return all.add(callback)
}

/** Those who wait for one signal. */
class Waiting {
  readonly #signal: AbortSignal
  readonly #callbacks = new Set<() => void>()

  constructor(signal: AbortSignal) {
    this.#signal = signal
    signal.addEventListener('abort', this.#abort, { once: true })
  }

  add(callback: () => void): () => void {
    this.#callbacks.add(callback)
    return () => {
      if (!this.#callbacks.delete(callback) || this.#callbacks.size > 0) return
      waiting.delete(this.#signal)
      this.#signal.removeEventListener('abort', this.#abort)
    }
  }

  readonly #abort = (): void => {
    for (const callback of this.#callbacks) callback()
  }
}

function nothing(): void {}
