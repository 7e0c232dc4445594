/**
 * Clusters that lose their last reference, while the storage drops their data. Their counts go down afterwards, or
 * the discard would hit what is written there next. Nobody holds the mutex while it waits for that.
 */
import type { ChildHandle } from '@diskgraph/core/driver'

/** A run of clusters. */
export interface ClusterRun {
  readonly start: number
  readonly count: number
}

/** See the top of this file. */
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
