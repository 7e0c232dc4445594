/** Takes away the references of freed clusters, once no mapping and no request needs them. Under the image's mutex. */
import { BlockError, type ChildHandle } from '@diskgraph/core/driver'
import type { MetadataStore } from '../tables/metadata.ts'
import type { Allocator } from './allocator.ts'
import type { Discards, FreeReason, PendingFrees } from './frees.ts'
import type { Refcounts } from './refcounts.ts'

/** What the reclaimer works with. */
interface ReclaimerParts {
  readonly file: ChildHandle
  readonly store: MetadataStore
  readonly refcounts: Refcounts
  readonly allocator: Allocator
  readonly frees: PendingFrees
  readonly discards: Discards
  /** Whether the storage drops clusters that are freed for this reason. */
  discarded(reason: FreeReason): boolean
  warn(message: string): void
}

/** See the top of this file. */
export class Reclaimer {
  private readonly parts: ReclaimerParts

  constructor(parts: ReclaimerParts) {
    this.parts = parts
  }

  /** Makes the mapping without freed clusters safe, and takes away their references. Waits for discards. */
  async reclaim(): Promise<void> {
    await this.begin()
    if (!this.parts.discards.pending) return
    await this.parts.discards.settled()
    await this.end()
  }

  /** The same up to the clusters that the storage has to drop first: they are handed to `discards`. */
  async begin(): Promise<void> {
    const { frees, store } = this.parts
    if (frees.empty) return
    await store.writeMapping()
    await store.flushFile()
    for (const { start, count, reason } of frees.takeUntouched()) {
      if (this.parts.discarded(reason)) {
        await this.startDiscards(start, count).catch((error: unknown) => this.warn(error))
      } else await this.release(start, count)
    }
  }

  /** Takes away the references of clusters that the storage has dropped. */
  async end(): Promise<void> {
    for (const { start, count } of this.parts.discards.take()) await this.release(start, count)
  }

  /** Lowers the counts of a run of clusters by one, now. */
  async release(start: number, count: number): Promise<void> {
    const held = this.parts.file.debugEvent('cluster_free')
    if (held !== undefined) await held
    try {
      await this.parts.refcounts.update(start, count, -1)
    } catch (error) {
      this.warn(error)
    }
  }

  private async startDiscards(start: number, count: number): Promise<void> {
    for (let at = start; at < start + count; ) {
      const last = await this.isLastReference(at)
      let end = at + 1
      while (end < start + count && (await this.isLastReference(end)) === last) end++
      if (last) {
        this.parts.allocator.leaveTail(at, end - at)
        this.parts.discards.start({ start: at, count: end - at })
      } else {
        await this.release(at, end - at)
      }
      at = end
    }
  }

  private async isLastReference(cluster: number): Promise<boolean> {
    const { refcounts } = this.parts
    const count = refcounts.peek(cluster)
    return (count < 0 ? await refcounts.get(cluster) : count) === 1
  }

  private warn(error: unknown): void {
    const text = error instanceof BlockError ? error.message : String(error)
    this.parts.warn(`qcow2: cannot free clusters: ${text}`)
  }
}
