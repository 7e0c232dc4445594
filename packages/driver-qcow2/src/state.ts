/**
 * What one open image consists of, put together. The operations (read, write, zeroes, discard, check, snapshots …)
 * are functions over this state in files of their own.
 *
 * Rules that all of them keep:
 * - Everything that changes metadata holds `mutex`. It is never held while guest data is read or written.
 * - Between two `await`s nothing else runs: a table change is computed and made in one such stretch.
 * - The order on disk belongs to `store` (see metadata.ts): callers change tables in memory and go on.
 * - Clusters that are no longer referenced are handed to `frees`; their counts go down after the next
 *   {@link Qcow2State.commitMetadata} or flush.
 */
import { alignDown, BlockError, type ChildHandle, type Clock } from '@diskgraph/core/driver'
import { CompressedCache } from './data/compressed-cache.ts'
import { InFlight } from './data/in-flight.ts'
import type { Zlib } from './data/zlib.ts'
import { hasFeature } from './header/checks.ts'
import { Corruption, type CorruptionHost } from './header/corruption.ts'
import type { Header } from './header/header.ts'
import { CompatibleBit, type Geometry, geometryOf, IncompatibleBit } from './header/layout.ts'
import { HeaderStore } from './header/store.ts'
import { Mutex } from './mutex.ts'
import type { RuntimeOptions } from './options.ts'
import { Pace } from './pace.ts'
import { Allocator } from './refcounts/allocator.ts'
import { Discards } from './refcounts/discards.ts'
import { PendingFrees } from './refcounts/frees.ts'
import { Refcounts } from './refcounts/refcounts.ts'
import type { SnapshotRecord } from './snapshots/table.ts'
import { TableCache } from './tables/cache.ts'
import { loadInactiveL2 } from './tables/inactive-tables.ts'
import { newRun, type Run } from './tables/map.ts'
import { MetadataStore } from './tables/metadata.ts'
import { OverlapGuard, Structure } from './tables/overlap.ts'
import type { RootTable } from './tables/root-table.ts'

/** What an image has of the node that it is behind. */
export interface ImageHost extends CorruptionHost {
  readonly clock: Clock
}

/** What {@link Qcow2State} is made from. */
export interface StateParts {
  readonly file: ChildHandle
  readonly header: Header
  readonly l1: RootTable
  /** Left out: it is read when it is needed. */
  readonly refcountTable?: RootTable
  readonly options: RuntimeOptions
  readonly host: ImageHost
  readonly zlib: Zlib
  readonly readOnly: boolean
  /** The backing file, asked for at every use: edges of the graph come and go. */
  backing(): ChildHandle | undefined
}

/** See the top of this file. */
export class Qcow2State {
  readonly file: ChildHandle
  readonly geometry: Geometry
  readonly header: HeaderStore
  readonly store: MetadataStore
  readonly refcounts: Refcounts
  readonly allocator: Allocator
  readonly overlap: OverlapGuard
  readonly corruption: Corruption
  readonly frees: PendingFrees
  readonly discards: Discards
  readonly inFlight = new InFlight()
  readonly mutex = new Mutex()
  readonly zlib: Zlib
  readonly host: ImageHost
  readonly backing: () => ChildHandle | undefined
  options: RuntimeOptions
  readOnly: boolean
  /** Virtual disk size in bytes; whole sectors. */
  size: number
  /** Internal snapshots, in the order of their table. */
  snapshots: readonly SnapshotRecord[] = []
  /** Inflated clusters. */
  readonly compressed: CompressedCache
  /** Writes in place up to this host offset are known not to be too far behind the end of the file. */
  farLimit = 0
  /** See preallocated.ts. */
  preallocated: Promise<boolean> | undefined
  /** Of questions for the status, many of which follow each other when a disk is mapped. */
  readonly questions = new Pace()
  /** For lookups that are used before the next `await`. */
  readonly run: Run = newRun()

  constructor(parts: StateParts) {
    const { file, header, options, host } = parts
    this.file = file
    this.host = host
    this.zlib = parts.zlib
    this.options = options
    this.readOnly = parts.readOnly
    this.backing = parts.backing
    this.size = alignDown(header.size, 512)
    const geometry = geometryOf(header.clusterBits, header.refcountOrder)
    this.geometry = geometry
    this.compressed = new CompressedCache(geometry.clusterSize)
    this.header = new HeaderStore(file, header)
    this.corruption = new Corruption(host, file, () => this.header.setIncompatible(IncompatibleBit.corrupt, true))
    this.frees = new PendingFrees(geometry.clusterSize)
    this.discards = new Discards(file, geometry.clusterSize)
    this.overlap = new OverlapGuard(
      geometry,
      parts.readOnly ? 0 : options.overlapChecks,
      this.corruption,
      () => this.store,
      (tables, found) => loadInactiveL2(file, geometry, tables, found),
    )
    this.header.guard = (offset, length) => this.overlap.check(Structure.mainHeader, offset, length)
    const l2 = new TableCache(file, options.l2SliceSize, options.l2Slices, {
      loadEvent: 'l2_load',
      updateEvent: 'l2_update',
      guard: (offset, length) => this.overlap.check(Structure.activeL2, offset, length),
    })
    const blocks = new TableCache(file, geometry.clusterSize, options.refcountBlocks, {
      updateEvent: 'refblock_update_part',
      guard: (offset, length) => this.overlap.check(Structure.refcountBlock, offset, length),
    })
    this.store = new MetadataStore(
      file,
      this.header,
      this.overlap,
      { l2, blocks },
      { l1: parts.l1, refcountTable: parts.refcountTable },
    )
    this.refcounts = new Refcounts(geometry, this.store, this.corruption)
    this.allocator = new Allocator({
      file,
      geometry,
      store: this.store,
      refcounts: this.refcounts,
      overlap: this.overlap,
      header: this.header,
      corruption: this.corruption,
      freeLater: (offset, length) => this.frees.add(offset, length, 'other'),
      forgetData: () => this.compressed.clear(),
    })
    this.refcounts.connect(this.allocator)
  }

  /** Takes over changed options. Nothing is in flight. */
  applyOptions(options: RuntimeOptions, readOnly: boolean): void {
    this.options = options
    this.readOnly = readOnly
    this.overlap.checked = readOnly ? 0 : options.overlapChecks
    this.store.l2.reshape(options.l2SliceSize)
    this.store.l2.capacity = options.l2Slices
    this.store.blocks.capacity = options.refcountBlocks
  }

  /** Runs `work` under the metadata mutex. Not for the hot path, which takes the mutex itself. */
  async exclusively<Result>(work: () => Promise<Result>): Promise<Result> {
    const wait = this.mutex.lock()
    if (wait !== undefined) await wait
    try {
      return await work()
    } finally {
      this.mutex.unlock()
    }
  }

  /** Rejects every request on an image that was found corrupt. */
  checkUsable(): void {
    if (this.corruption.broken) throw this.corruption.unusable()
  }

  /** Undefined when data may be written to this range of the file; else a promise that rejects with EIO. */
  guardWrite(offset: number, length: number): Promise<void> | undefined {
    return this.overlap.check(Structure.none, offset, length)
  }

  /** Whether refcount updates are postponed and the dirty bit stands for them. */
  get lazyRefcounts(): boolean {
    if (this.header.value.version < 3) return false
    return this.options.lazyRefcounts ?? hasFeature(this.header.value.compatibleFeatures, CompatibleBit.lazyRefcounts)
  }

  /**
   * Before mappings rely on refcounts that are not on disk: sets the dirty bit, if refcounts are lazy, and makes it
   * safe. Under the mutex.
   */
  async prepareLinking(): Promise<void> {
    if (this.store.lazy || !this.lazyRefcounts) return
    await this.header.setIncompatible(IncompatibleBit.dirty, true)
    this.store.lazy = true
  }

  /**
   * Writes all metadata in order, and settles clusters that were freed. What it wrote is not flushed when it
   * resolves: the core flushes the file after the image. Under the mutex.
   */
  async commitMetadata(): Promise<void> {
    await this.store.writeMapping()
    await this.settleFrees()
    if (!this.store.lazy) await this.store.writeRefcounts()
  }

  /** Like {@link commitMetadata}, while others go on: takes the mutex, and leaves it while the storage discards. */
  async flushMetadata(): Promise<void> {
    try {
      await this.exclusively(async () => {
        await this.store.writeMapping()
        await this.startSettling()
        if (!this.store.lazy) await this.store.writeRefcounts()
      })
    } finally {
      if (this.discards.pending) await this.finishDiscards()
    }
  }

  /** Like {@link settleFrees}, in the way of {@link flushMetadata}. */
  async flushFrees(): Promise<void> {
    await this.exclusively(() => this.startSettling())
    if (this.discards.pending) await this.finishDiscards()
  }

  private async finishDiscards(): Promise<void> {
    await this.discards.settled()
    await this.exclusively(async () => {
      await this.releaseDiscarded()
      if (!this.store.lazy) await this.store.writeRefcounts()
    })
  }

  /**
   * Takes away the references of freed clusters, after making the mapping without them safe. Under the mutex, and
   * where nobody else has anything to do: it waits for discards.
   */
  async settleFrees(): Promise<void> {
    await this.startSettling()
    if (!this.discards.pending) return
    await this.discards.settled()
    await this.releaseDiscarded()
  }

  /** Takes away references; clusters that the storage has to drop first are handed to `discards`. Under the mutex. */
  private async startSettling(): Promise<void> {
    if (this.frees.empty) return
    await this.store.writeMapping()
    await this.store.flushFile()
    for (const { start, count, reason } of this.frees.takeSettled()) {
      if (this.options.passDiscard[reason]) {
        await this.startDiscards(start, count).catch((error: unknown) => this.warnKept(error))
      } else await this.release(start, count)
    }
  }

  private async startDiscards(start: number, count: number): Promise<void> {
    for (let at = start; at < start + count; ) {
      const last = await this.isLastReference(at)
      let end = at + 1
      while (end < start + count && (await this.isLastReference(end)) === last) end++
      if (last) {
        this.allocator.leaveTail(at, end - at)
        this.discards.start({ start: at, count: end - at })
      } else {
        await this.release(at, end - at)
      }
      at = end
    }
  }

  private async isLastReference(cluster: number): Promise<boolean> {
    const count = this.refcounts.peek(cluster)
    return (count < 0 ? await this.refcounts.get(cluster) : count) === 1
  }

  private async releaseDiscarded(): Promise<void> {
    for (const { start, count } of this.discards.take()) await this.release(start, count)
  }

  /** Lowers the counts of a run of clusters by one, now. Under the mutex. */
  async release(start: number, count: number): Promise<void> {
    const held = this.file.debugEvent('cluster_free')
    if (held !== undefined) await held
    try {
      await this.refcounts.update(start, count, -1)
    } catch (error) {
      this.warnKept(error)
    }
  }

  private warnKept(error: unknown): void {
    const text = error instanceof BlockError ? error.message : String(error)
    this.host.warn(`qcow2: cannot free clusters: ${text}`)
  }

  /** Writes and flushes everything, and clears the dirty bit that lazy refcounts set. Under the mutex. */
  async makeClean(): Promise<void> {
    await this.commitMetadata()
    await this.store.writeRefcounts()
    if (!this.store.lazy) return
    await this.store.flushFile()
    await this.header.setIncompatible(IncompatibleBit.dirty, false)
    this.store.lazy = false
  }
}
