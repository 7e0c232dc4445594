/**
 * Locks on byte ranges of one node. A request holds its range shared while it runs; one that reads, changes and
 * writes back more than it was asked to (an unaligned write, copy-on-read) holds the whole blocks exclusively.
 * Exclusive holders exclude everybody who overlaps. Who waits does not hold others back that need not wait, as in QEMU,
 * but is overtaken by so many only, so nobody starves; waiters are served in the order they came.
 *
 * A waiter stands in the queue of one range that it conflicts with: a held one, or that of an earlier waiter who is out
 * of patience. It is looked at again when that range is released, and then is served or goes to the queue of another
 * one. So a release costs no more than its own queue, however many wait elsewhere.
 */
interface Range {
  readonly start: number
  readonly end: number
  readonly exclusive: boolean
  held: boolean
  /** Those who wait for its release. */
  queue: Queue | undefined
}

interface Waiter {
  readonly range: Range
  /** Counts arrivals. */
  readonly order: number
  /** How many have been served that came later and overlap. */
  overtaken: number
  readonly wake: () => void
}

/** So often a waiter is overtaken. */
const patience = 64

/** An opaque token of a held range. */
export type RangeHold = Range

/** Range locks of one node. Uncontended use allocates one small object and no promise. */
export class RangeLock {
  readonly #exclusive = new RangeSet()
  readonly #shared = new RangeSet()
  /** In order of arrival. */
  readonly #waiting: Waiter[] = []
  /** Those of them who are out of patience. */
  readonly #impatient: Waiter[] = []
  #arrivals = 0

  /** Takes the range; the result is a promise only if it had to wait. */
  acquire(offset: number, length: number, exclusive: boolean): RangeHold | Promise<RangeHold> {
    const range: Range = { start: offset, end: offset + length, exclusive, held: false, queue: undefined }
    const order = this.#arrivals++
    const blocker = this.#blockerOf(range, order)
    if (blocker === undefined) {
      this.#hold(range, order)
      return range
    }
    return new Promise<RangeHold>((resolve) => {
      const waiter = { range, order, overtaken: 0, wake: () => resolve(range) }
      this.#waiting.push(waiter)
      enqueue(waiter, blocker)
    })
  }

  release(hold: RangeHold): void {
    if (!hold.held) return
    hold.held = false
    this.#setOf(hold).remove(hold)
    if (hold.queue !== undefined) this.#serve(hold.queue, hold)
  }

  /** Looks again at those who waited for `released`. */
  #serve(queue: Queue, released: Range): void {
    for (let waiter = queue.take(); waiter !== undefined; waiter = queue.take()) {
      const { range, order } = waiter
      const blocker = this.#blockerOf(range, order)
      if (blocker !== undefined) {
        enqueue(waiter, blocker)
        continue
      }
      this.#grant(waiter)
      // The others overlap what was released, so they have to wait for this one all together.
      const covers = range.start <= released.start && range.end >= released.end
      if (range.exclusive && covers && range.queue === undefined) {
        range.queue = queue
        return
      }
    }
  }

  /** What keeps a request from its range: a held one, or that of an earlier waiter who is out of patience. */
  #blockerOf(range: Range, order: number): Range | undefined {
    const held = this.#exclusive.overlapping(range) ?? (range.exclusive ? this.#shared.overlapping(range) : undefined)
    if (held !== undefined) return held
    for (const earlier of this.#impatient) {
      if (earlier.order < order && conflict(earlier.range, range)) return earlier.range
    }
    return undefined
  }

  #grant(waiter: Waiter): void {
    takeOut(this.#waiting, waiter)
    if (waiter.overtaken === patience) takeOut(this.#impatient, waiter)
    this.#hold(waiter.range, waiter.order)
    waiter.wake()
  }

  #hold(range: Range, order: number): void {
    for (const earlier of this.#waiting) {
      if (earlier.order > order) break
      if (conflict(earlier.range, range) && ++earlier.overtaken === patience) this.#impatient.push(earlier)
    }
    range.held = true
    this.#setOf(range).add(range)
  }

  #setOf({ exclusive }: Range): RangeSet {
    return exclusive ? this.#exclusive : this.#shared
  }
}

/** Ranges by their start. */
class RangeSet {
  readonly #ranges: Range[] = []
  /** No range is longer. */
  #longest = 0

  add(range: Range): void {
    const ranges = this.#ranges
    let at = ranges.length
    const length = range.end - range.start
    if (at === 0 || length > this.#longest) this.#longest = length
    for (; at > 0 && (ranges[at - 1] as Range).start > range.start; at--) ranges[at] = ranges[at - 1] as Range
    ranges[at] = range
  }

  remove(range: Range): void {
    const ranges = this.#ranges
    let at = this.#before(range.start)
    while (ranges[at] !== range) at++
    for (; at + 1 < ranges.length; at++) ranges[at] = ranges[at + 1] as Range
    ranges.pop()
  }

  /** One that has a byte in common with `range`. */
  overlapping({ start, end }: Range): Range | undefined {
    const ranges = this.#ranges
    for (let at = this.#before(end) - 1; at >= 0; at--) {
      const range = ranges[at] as Range
      if (range.end > start && range.start < end) return range
      if (range.start + this.#longest <= start) return undefined
    }
    return undefined
  }

  /** How many start before `offset`. */
  #before(offset: number): number {
    let [low, high] = [0, this.#ranges.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#ranges[middle] as Range).start < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Waiters in the order they came, from the one that is next on. */
class Queue {
  #waiters: Waiter[] = []
  #next = 0
  #sorted = true

  add(waiter: Waiter): void {
    const last = this.#waiters.at(-1)
    if (last !== undefined && last.order > waiter.order) this.#sorted = false
    this.#waiters.push(waiter)
  }

  take(): Waiter | undefined {
    // Those who are served are forgotten when they are half of all, so that nobody moves more than twice.
    if (!this.#sorted || this.#next * 2 > this.#waiters.length) {
      this.#waiters = this.#waiters.slice(this.#next)
      this.#next = 0
    }
    if (!this.#sorted) this.#waiters.sort((one, other) => one.order - other.order)
    this.#sorted = true
    const waiter = this.#waiters[this.#next]
    if (waiter !== undefined) this.#next++
    return waiter
  }
}

function enqueue(waiter: Waiter, blocker: Range): void {
  blocker.queue ??= new Queue()
  blocker.queue.add(waiter)
}

function takeOut(waiters: Waiter[], waiter: Waiter): void {
  waiters.splice(waiters.indexOf(waiter), 1)
}

function conflict(one: Range, other: Range): boolean {
  return (one.exclusive || other.exclusive) && one.start < other.end && other.start < one.end
}
