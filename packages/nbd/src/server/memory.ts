/**
 * Memory of requests under way. A connection takes bytes before it begins a request and gives them back when the answer
 * has left the process: so readers that never read cost what they are allowed, and no more. What one connection may take
 * is bounded (`perConnection`), and what all of them take together (`total`). A request that finds nothing free waits;
 * one alone on its connection counts at the connection's bound, however long it is.
 */

/** Bytes that the requests of one connection may take. */
export const perConnection = 64 * 1024 * 1024

/** Bytes that the requests of all connections of a server share. */
export class MemoryBudget {
  #free: number
  readonly #waiting = new Set<() => void>()

  constructor(total: number) {
    this.#free = total
  }

  /** Takes `bytes`; false: there are not so many, and `wake` is called once when it is worth to ask again. */
  take(bytes: number, wake: () => void): boolean {
    if (bytes <= this.#free) {
      this.#free -= bytes
      return true
    }
    this.#waiting.add(wake)
    return false
  }

  give(bytes: number): void {
    this.#free += bytes
    if (this.#waiting.size === 0) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }

  /** Ends a wait. */
  leave(wake: () => void): void {
    this.#waiting.delete(wake)
  }
}
