/**
 * Clusters that the mapping no longer needs, until their refcounts may go down.
 *
 * A range passes three gates before its clusters can be allocated again:
 *   1. the L2 and L1 entries without it are safe on disk (else a crash brings back a mapping to foreign data);
 *   2. no read or write of data that started before it was freed is still on its way (else a late write would
 *      land on somebody else's cluster, a late read would show it);
 *   3. where discards are passed on, the storage has dropped the range (else the discard would hit new data).
 *
 * Requests that finish at once need no bookkeeping: nothing is freed in between.
 */
import { type ChildHandle, done } from '@diskgraph/core/driver'

/** Why clusters are freed; the `passDiscard…` options go by it. */
export type FreeReason = 'request' | 'snapshot' | 'other' | 'never'

/** A run of clusters that each lose one reference. */
export interface FreedRange {
  readonly start: number
  count: number
  readonly reason: FreeReason
  /** How often ranges had been taken before it was freed. */
  readonly generation: number
}

/** So many ranges or clusters may wait before they are to be taken. */
const crowdedRanges = 4096
const crowdedBytes = 64 * 1024 * 1024

/** See the top of this file. */
export class PendingFrees {
  private readonly clusterSize: number
  private ranges: FreedRange[] = []
  private clusters = 0
  private generation = 0
  /** Requests on their way, by the generation in which they started. */
  private readonly active = new Map<number, number>()

  constructor(clusterSize: number) {
    this.clusterSize = clusterSize
  }

  get empty(): boolean {
    return this.ranges.length === 0
  }

  /** Whether it is time to take them, though nobody asked for a flush. */
  get crowded(): boolean {
    return this.ranges.length > crowdedRanges || this.clusters * this.clusterSize > crowdedBytes
  }

  /** Notes that every cluster touched by a range of the file loses one reference. */
  add(offset: number, length: number, reason: FreeReason): void {
    const start = Math.floor(offset / this.clusterSize)
    const count = Math.floor((offset + length - 1) / this.clusterSize) - start + 1
    this.clusters += count
    const last = this.ranges.at(-1)
    if (
      last !== undefined &&
      last.start + last.count === start &&
      last.reason === reason &&
      last.generation === this.generation
    ) {
      last.count += count
      return
    }
    this.ranges.push({ start, count, reason, generation: this.generation })
  }

  /** Takes the ranges that no request can still touch. Call it when the mapping is safe on disk. */
  takeUntouched(): FreedRange[] {
    let oldest = Number.POSITIVE_INFINITY
    for (const generation of this.active.keys()) oldest = Math.min(oldest, generation)
    this.generation++
    if (oldest === Number.POSITIVE_INFINITY) {
      const all = this.ranges
      this.ranges = []
      this.clusters = 0
      return all
    }
    const untouched = this.ranges.filter((range) => range.generation < oldest)
    this.ranges = this.ranges.filter((range) => range.generation >= oldest)
    for (const range of untouched) this.clusters -= range.count
    return untouched
  }

  /** Follows a request for data until it is finished. */
  track(request: Promise<void>): Promise<void> {
    return request === done ? done : this.follow(request)
  }

  private async follow(request: Promise<void>): Promise<void> {
    const { generation, active } = this
    active.set(generation, (active.get(generation) ?? 0) + 1)
    try {
      await request
    } finally {
      const count = active.get(generation)! - 1
      if (count === 0) active.delete(generation)
      else active.set(generation, count)
    }
  }
}

/** A run of clusters. */
interface ClusterRun {
  readonly start: number
  readonly count: number
}

/**
 * Clusters that lose their last reference, while the storage drops their data. Their counts go down afterwards, or
 * the discard would hit what is written there next. Nobody holds the mutex while it waits for that.
 */
export class Discards {
  private readonly file: ChildHandle
  private readonly clusterSize: number
  private last: Promise<void> | undefined
  private dropped: ClusterRun[] = []

  constructor(file: ChildHandle, clusterSize: number) {
    this.file = file
    this.clusterSize = clusterSize
  }

  /** Whether there are runs that {@link take} has not given out. */
  get pending(): boolean {
    return this.last !== undefined || this.dropped.length > 0
  }

  /** Discards a run, after those before it. */
  start(run: ClusterRun): void {
    const discarded = (this.last ?? Promise.resolve()).then(() => this.discard(run))
    this.last = discarded
    void discarded.then(() => {
      if (this.last === discarded) this.last = undefined
    })
  }

  /** Resolves when all runs that were started have been discarded. */
  async settled(): Promise<void> {
    await this.last
  }

  /** Takes the runs whose counts may go down. */
  take(): ClusterRun[] {
    const { dropped } = this
    this.dropped = []
    return dropped
  }

  private async discard(run: ClusterRun): Promise<void> {
    // A storage that cannot discard keeps the data, which is no harm.
    await this.file.discard(run.start * this.clusterSize, run.count * this.clusterSize).catch(() => {})
    this.dropped.push(run)
  }
}
