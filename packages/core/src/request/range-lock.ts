/**
 * Locks on byte ranges of one node. A request holds its range shared while it runs; one that reads, changes and
 * writes back more than it was asked to (an unaligned write, copy-on-read) holds the whole blocks exclusively.
 * Exclusive holders exclude everybody who overlaps; waiters are served in the order they came, so nobody starves.
 */
interface Holder {
  readonly start: number
  readonly end: number
  readonly exclusive: boolean
  granted: boolean
  wake: (() => void) | undefined
}

/** An opaque token of a held range. */
export type RangeHold = Holder

/** Range locks of one node. Uncontended use allocates one small object and no promise. */
export class RangeLock {
  /** Held and awaited ranges, in order of arrival. */
  readonly #holders: Holder[] = []

  /** Takes the range; the result is a promise only if it had to wait. */
  acquire(offset: number, length: number, exclusive: boolean): RangeHold | Promise<RangeHold> {
    const holder: Holder = { start: offset, end: offset + length, exclusive, granted: true, wake: undefined }
    holder.granted = !this.#blocked(holder, this.#holders.length)
    this.#holders.push(holder)
    if (holder.granted) return holder
    return new Promise<RangeHold>((resolve) => {
      holder.wake = () => resolve(holder)
    })
  }

  release(hold: RangeHold): void {
    const index = this.#holders.indexOf(hold)
    if (index < 0) return
    this.#holders.splice(index, 1)
    for (let i = 0; i < this.#holders.length; i++) {
      const waiter = this.#holders[i] as Holder
      if (waiter.granted || this.#blocked(waiter, i)) continue
      waiter.granted = true
      waiter.wake?.()
    }
  }

  /** Whether one of the first `count` holders or waiters stands in the way. */
  #blocked(request: Holder, count: number): boolean {
    for (let i = 0; i < count; i++) {
      const other = this.#holders[i] as Holder
      if ((other.exclusive || request.exclusive) && other.start < request.end && request.start < other.end) return true
    }
    return false
  }
}
