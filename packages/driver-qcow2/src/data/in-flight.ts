/**
 * Guest clusters that are being allocated: their data is on its way, and their L2 entries are about to change. A
 * request that wants to change the mapping of such a cluster waits until it is linked, so that nothing is
 * allocated twice and copy-on-write areas of two requests never overlap.
 */
import { done } from '@diskgraph/core/driver'

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

  get size(): number {
    return this.allocations.length
  }

  /** The allocation that touches [start, end) first in the order of the disk. */
  firstOverlap(start: number, end: number): Allocation | undefined {
    let first: Allocation | undefined
    for (const allocation of this.allocations) {
      if (allocation.start >= end || allocation.end <= start) continue
      if (first === undefined || allocation.start < first.start) first = allocation
    }
    return first
  }

  /** Starts an allocation; nothing may overlap it. */
  begin(start: number, end: number): Allocation {
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
}
