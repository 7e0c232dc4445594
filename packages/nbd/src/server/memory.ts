/**
 * Memory of requests under way. A connection takes bytes before it begins a request and gives them back when the answer
 * has left the process. What one connection may take is bounded (`perConnection`), and what all of them take together
 * (`total`); a request that finds nothing free waits. Whoever waits gets what becomes free in the order of their coming,
 * one request of each connection at a time: a long one is not passed by others that are shorter or come more often.
 *
 * So that nobody waits for those who never read, or who send a header and not what it announces:
 *
 * - A connection always gets up to `guaranteed` bytes, beyond the total: small requests never wait.
 * - While somebody waits, all who hold memory are looked at once in each `patience`, more often the more wait. Whoever
 *   holds it because of its client, and moves less than a 64th of it in that time, is ended. Work of the disk is no
 *   reason: it is not the client's fault.
 */
import type { Clock } from '@diskgraph/core/driver'

/** Bytes that the requests of one connection may take. */
export const perConnection = 64 * 1024 * 1024
/** Bytes that a connection may hold whatever others hold: a read of 1 MiB. */
const guaranteed = 1024 * 1024 + 4096
/** Part of the memory that it holds which a connection has to move in one `patience`. */
const leastShare = 1 / 64
/** How often holders are looked at in one `patience`, at most. */
const mostLooks = 10

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
  readonly #total: number
  #free: number
  readonly #users = new Set<MemoryUser>()
  readonly #waiting = new Set<MemoryUser>()
  /** What each of those who were there when the watch began had moved. Who has left is not kept: with it, its memory. */
  readonly #before = new Map<MemoryUser, number>()
  #stopWatch: (() => void) | undefined

  /** Of `total` bytes; `patience` in milliseconds. */
  constructor(total: number, clock: Clock, patience: number) {
    this.#total = total
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
    this.#before.delete(user)
    this.giveUp(user)
    if (this.#users.size > 0) return
    this.#stopWatch?.()
    this.#stopWatch = undefined
  }

  /** Takes `bytes`; false: there are not so many, and `user` proceeds when it is worth to ask again. */
  take(bytes: number, user: MemoryUser): boolean {
    const isNext = this.#waiting.size === 0 || this.#next === user
    // What is more than there is gets all of it.
    const isFree = bytes <= this.#free || this.#free >= this.#total
    if ((isNext && isFree) || user.held + bytes <= guaranteed) {
      this.#free -= bytes
      this.#waiting.delete(user)
      return true
    }
    this.#waiting.add(user)
    if (this.#stopWatch === undefined) this.#watch()
    return false
  }

  give(bytes: number): void {
    this.#free += bytes
    this.#serve()
  }

  /** Ends a wait. */
  giveUp(user: MemoryUser): void {
    if (this.#waiting.delete(user)) this.#serve()
  }

  get #next(): MemoryUser | undefined {
    return this.#waiting.values().next().value
  }

  /** Lets those who wait ask again, until one of them has to wait further. */
  #serve(): void {
    for (let user = this.#next; user !== undefined; user = this.#next) {
      user.proceed()
      if (this.#next === user) return
    }
  }

  #watch(): void {
    for (const user of this.#users) this.#before.set(user, user.moved)
    // The more wait, the shorter: each time only those are ended who came to hold something.
    const part = 1 / Math.min(this.#waiting.size, mostLooks)
    this.#stopWatch = this.#clock.timeout(this.#patience * part, () => {
      this.#stopWatch = undefined
      if (this.#waiting.size === 0) return
      for (const [user, moved] of [...this.#before]) {
        const isIdle = user.moved - moved < user.held * leastShare * part
        if (user.awaitsClient && isIdle) user.expel()
      }
      if (this.#waiting.size > 0) this.#watch()
    })
  }
}
