/**
 * Guest clusters that are being allocated: their data is on its way, and their L2 entries are about to change. A
 * request that wants to change the mapping of such a cluster waits until it is linked, so that nothing is
 * allocated twice and copy-on-write areas of two requests never overlap.
 */
import { BlockError, done } from '@diskgraph/core/driver'

/** One allocation on its way, for the guest range from `start` to `end` (whole clusters). */
export class Allocation {
  readonly start: number
  readonly end: number
  private finished: Promise<void> | undefined
  private finish: (() => void) | undefined
  private ended = false

  constructor(start: number, end: number) {
    this.start = start
    this.end = end
  }

  /** Resolves when the allocation is linked or has failed. */
  get settled(): Promise<void> {
    if (this.ended) return done
    this.finished ??= new Promise((resolve) => {
      this.finish = resolve
    })
    return this.finished
  }

  /** Lets those who wait go on. */
  settle(): void {
    this.ended = true
    this.finish?.()
  }
}

/** See the top of this file. */
export class InFlight {
  private readonly allocations: Allocation[] = []

  /** Whether nothing in [start, end) is being allocated. */
  isClear(start: number, end: number): boolean {
    return this.allocations.length === 0 || this.firstOverlap(start, end) === undefined
  }

  /** How far from `start` on, up to `end`, nothing is being allocated: `start` itself when it is; then {@link wait}. */
  clearUntil(start: number, end: number): number {
    if (this.allocations.length === 0) return end
    const first = this.firstOverlap(start, end)
    return first === undefined ? end : Math.max(start, first.start)
  }

  /** Resolves when the first allocation in [start, end) has ended; there may be another one then. */
  wait(start: number, end = start + 1): Promise<void> {
    return this.firstOverlap(start, end)?.settled ?? done
  }

  /** Starts an allocation; nothing may overlap it. EINVAL for a range that holds nothing. */
  begin(start: number, end: number): Allocation {
    if (!(start < end)) throw new BlockError('EINVAL', `cannot allocate [${start}, ${end}): no byte is in it`)
    const allocation = new Allocation(start, end)
    this.allocations.push(allocation)
    return allocation
  }

  /** Ends an allocation and wakes those who wait for it. */
  end(allocation: Allocation): void {
    const index = this.allocations.indexOf(allocation)
    const last = this.allocations.pop()!
    if (last !== allocation) this.allocations[index] = last
    allocation.settle()
  }

  /** The allocation that touches [start, end) first in the order of the disk. */
  private firstOverlap(start: number, end: number): Allocation | undefined {
    let first: Allocation | undefined
    for (const allocation of this.allocations) {
      if (allocation.start >= end || allocation.end <= start) continue
      if (first === undefined || allocation.start < first.start) first = allocation
    }
    return first
  }
}
