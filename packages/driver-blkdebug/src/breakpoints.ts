import { BlockError } from '@diskgraph/core/driver'
import { canonicalEvent } from './events.ts'

interface Suspended {
  readonly tag: string
  readonly wake: () => void
}

/** What happened to a request at a breakpoint. */
type BreakpointListener = (what: 'suspended' | 'resumed', tag: string) => void

/**
 * Breakpoints: the next time their event happens they stop who raised it, until the tag is resumed. A breakpoint is
 * used up by stopping one request. Several on one event all stop the same request, and each must be resumed.
 */
export class Breakpoints {
  readonly #listener: BreakpointListener
  /** Breakpoints that have stopped nobody yet, the newest first. */
  #set: { readonly event: string; readonly tag: string }[] = []
  /** Stopped requests, the newest first. */
  readonly #suspended: Suspended[] = []
  #waiting: { readonly tag: string; readonly wake: () => void }[] = []

  constructor(listener: BreakpointListener) {
    this.#listener = listener
  }

  /** Stops the caller where a breakpoint is set on `event`: it goes on when the promise settles. */
  reach(event: string): Promise<void> | undefined {
    if (this.#set.length === 0) return undefined
    const name = canonicalEvent(event)
    const reached = this.#set.filter((breakpoint) => breakpoint.event === name)
    if (reached.length === 0) return undefined
    this.#set = this.#set.filter((breakpoint) => breakpoint.event !== name)
    return Promise.all(reached.map(({ tag }) => this.#suspend(tag))).then(() => undefined)
  }

  /** Sets a breakpoint. ENOENT if there is no such event. */
  set(event: string, tag: string): void {
    const name = canonicalEvent(event)
    if (name === undefined) throw new BlockError('ENOENT', `cannot set a breakpoint: there is no event '${event}'`)
    this.#set.unshift({ event: name, tag })
  }

  /**
   * Takes away the breakpoints called `tag` and lets all requests go on that they stopped.
   * ENOENT if none was set any more (one that has stopped a request is not).
   */
  remove(tag: string): void {
    const left = this.#set.filter((breakpoint) => breakpoint.tag !== tag)
    const removed = left.length < this.#set.length
    this.#set = left
    while (this.isSuspended(tag)) this.resume(tag)
    if (!removed) throw new BlockError('ENOENT', `cannot remove the breakpoint '${tag}': it is not set`)
  }

  /** Lets the request go on that was stopped last by a breakpoint called `tag`. ENOENT if there is none. */
  resume(tag: string): void {
    const index = this.#suspended.findIndex((suspended) => suspended.tag === tag)
    const [suspended] = index < 0 ? [] : this.#suspended.splice(index, 1)
    if (suspended === undefined) throw new BlockError('ENOENT', `cannot resume '${tag}': no request is suspended there`)
    this.#listener('resumed', tag)
    suspended.wake()
  }

  /** Whether a breakpoint called `tag` has stopped a request. */
  isSuspended(tag: string): boolean {
    return this.#suspended.some((suspended) => suspended.tag === tag)
  }

  /** Waits until a breakpoint called `tag` has stopped a request. */
  wait(tag: string): Promise<void> {
    if (this.isSuspended(tag)) return Promise.resolve()
    return new Promise((wake) => this.#waiting.push({ tag, wake }))
  }

  #suspend(tag: string): Promise<void> {
    return new Promise((wake) => {
      this.#suspended.unshift({ tag, wake })
      this.#listener('suspended', tag)
      const woken = this.#waiting.filter((waiter) => waiter.tag === tag)
      this.#waiting = this.#waiting.filter((waiter) => waiter.tag !== tag)
      for (const waiter of woken) waiter.wake()
    })
  }
}
