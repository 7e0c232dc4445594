/**
 * Locks on byte ranges of one node. A request holds its range shared while it runs; one that reads, changes and
 * writes back more than it was asked to (an unaligned write, copy-on-read) holds the whole blocks exclusively.
 * Exclusive holders exclude everybody who overlaps. Who waits does not hold others back that need not wait, as in QEMU,
 * but is overtaken by so many only, so nobody starves; waiters are served in the order they came.
 */
interface Holder {
  readonly start: number
  readonly end: number
  readonly exclusive: boolean
  granted: boolean
  /** How many have been served that came later and overlap. */
  overtaken: number
  wake: (() => void) | undefined
}

/** So often a waiter is overtaken. */
const patience = 64

/** An opaque token of a held range. */
export type RangeHold = Holder

/** Range locks of one node. Uncontended use allocates one small object and no promise. */
export class RangeLock {
  /** Held and awaited ranges, in order of arrival. */
  readonly #holders: Holder[] = []

  /** Takes the range; the result is a promise only if it had to wait. */
  acquire(offset: number, length: number, exclusive: boolean): RangeHold | Promise<RangeHold> {
    const holder: Holder = {
      start: offset,
      end: offset + length,
      exclusive,
      granted: false,
      overtaken: 0,
      wake: undefined,
    }
    this.#holders.push(holder)
    if (this.#grant(holder)) return holder
    return new Promise<RangeHold>((resolve) => {
      holder.wake = () => resolve(holder)
    })
  }

  release(hold: RangeHold): void {
    const index = this.#holders.indexOf(hold)
    if (index < 0) return
    this.#holders.splice(index, 1)
    for (const waiter of this.#holders) if (!waiter.granted && this.#grant(waiter)) waiter.wake?.()
  }

  /** Gives the range to `request` unless a holder, or a waiter that is out of patience, stands in the way. */
  #grant(request: Holder): boolean {
    let overtakes = false
    let earlier = true
    for (const other of this.#holders) {
      if (other === request) earlier = false
      else if ((other.granted || earlier) && conflict(other, request)) {
        if (other.granted || other.overtaken === patience) return false
        overtakes = true
      }
    }
    request.granted = true
    if (overtakes) this.#countOvertaken(request)
    return true
  }

  #countOvertaken(request: Holder): void {
    for (const other of this.#holders) {
      if (other === request) return
      if (!other.granted && conflict(other, request)) other.overtaken++
    }
  }
}

function conflict(one: Holder, other: Holder): boolean {
  return (one.exclusive || other.exclusive) && one.start < other.end && other.start < one.end
}
