/**
 * Memory of requests under way. A connection takes bytes before it begins a request and gives them back when the answer
 * has left the process. What one connection may take is bounded (`perConnection`), and what all of them take together
 * (`total`); a request that finds nothing free waits.
 *
 * So that nobody waits for those who never read, or who send a header and not what it announces:
 *
 * - A connection that holds nothing always gets `guaranteed` bytes, beyond the total: a small request never waits.
 * - While somebody waits, all who hold memory are looked at once in each `patience`. Whoever holds it because of its
 *   client, and has moved less than a 64th of it in that time, is ended. Work of the disk is no reason: it is not the
 *   client's fault.
 */
import type { Clock } from '@diskgraph/core/driver'

/** Bytes that the requests of one connection may take. */
export const perConnection = 64 * 1024 * 1024
/** Bytes that a connection without requests gets whatever others hold: a read of 1 MiB. */
const guaranteed = 1024 * 1024 + 4096
/** Part of the memory that it holds which a connection has to move in one `patience`. */
const leastShare = 1 / 64

/** A connection, as its server's memory sees it. */
export interface MemoryUser {
  /** Bytes that it holds. */
  readonly held: number
  /** Bytes of payloads and replies that have moved so far. */
  readonly moved: number
  /** Whether a payload has yet to come, or replies to leave. */
  readonly awaitsClient: boolean
  /** Memory may be free. */
  proceed(): void
  /** Ends the connection. */
  expel(): void
}

/** Bytes that the requests of all connections of a server share. */
export class MemoryBudget {
  readonly #clock: Clock
  readonly #patience: number
  #free: number
  readonly #users = new Set<MemoryUser>()
  readonly #waiting = new Set<MemoryUser>()
  #stopWatch: (() => void) | undefined

  /** Of `total` bytes; `patience` in milliseconds. */
  constructor(total: number, clock: Clock, patience: number) {
    this.#free = total
    this.#clock = clock
    this.#patience = patience
  }

  join(user: MemoryUser): void {
    this.#users.add(user)
  }

  /** Ends a user, which has given everything back. */
  leave(user: MemoryUser): void {
    this.#users.delete(user)
    this.#waiting.delete(user)
    if (this.#users.size > 0) return
    this.#stopWatch?.()
    this.#stopWatch = undefined
  }

  /** Takes `bytes`; false: there are not so many, and `user` proceeds when it is worth to ask again. */
  take(bytes: number, user: MemoryUser): boolean {
    if (bytes <= this.#free || (user.held === 0 && bytes <= guaranteed)) {
      this.#free -= bytes
      return true
    }
    this.#waiting.add(user)
    if (this.#stopWatch === undefined) this.#watch()
    return false
  }

  give(bytes: number): void {
    this.#free += bytes
    if (this.#waiting.size === 0) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const user of waiting) user.proceed()
  }

  /** Ends a wait. */
  giveUp(user: MemoryUser): void {
    this.#waiting.delete(user)
  }

  #watch(): void {
    const before = new Map([...this.#users].map((user) => [user, user.moved]))
    this.#stopWatch = this.#clock.timeout(this.#patience, () => {
      this.#stopWatch = undefined
      if (this.#waiting.size === 0) return
      for (const [user, moved] of before) {
        const isIdle = user.moved - moved < user.held * leastShare
        if (user.awaitsClient && isIdle) user.expel()
      }
      if (this.#waiting.size > 0) this.#watch()
    })
  }
}
