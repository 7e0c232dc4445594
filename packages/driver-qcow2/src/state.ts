/**
 * What one open image consists of, put together. Operations are functions in files of their own: those that move data
 * or change the mapping take the interface that they need of an image (DataImage of @diskgraph/sparse, mapping/active-tables.ts), those
 * that work on the image as a whole (snapshots, check, amend) take this state.
 *
 * Rules that all of them keep:
 * - Everything that changes metadata holds `mutex`. It is never held while guest data is read or written.
 * - Between two `await`s nothing else runs: a table change is computed and made in one such stretch.
 * - The order on disk belongs to `store` (see metadata.ts): callers change tables in memory and go on.
 * - Clusters that are no longer referenced are handed to `frees`; their counts go down after the next
 *   {@link Qcow2State.commitMetadata} or flush.
 */

import { InFlight, Mutex, newRun, type Run, Yielder } from '@diskgraph/clusters'
import type { Codec } from '@diskgraph/codecs'
import { alignDown, type ChildHandle, type Clock } from '@diskgraph/core/driver'
import type { ImageEncryption } from '@diskgraph/crypto'
import { hex } from './bytes.ts'
import { CompressedClusters, type CompressedImage } from './compressed/read.ts'
import { Corruption, type CorruptionHost, farWindow } from './header/corruption.ts'
import { checkRefcountTable, type Header } from './header/header.ts'
import { AutoclearBit, CompatibleBit, type Geometry, geometryOf, hasFeature, IncompatibleBit } from './header/layout.ts'
import { HeaderStore } from './header/store.ts'
import { ClusterAllocations } from './mapping/allocation.ts'
import { EntryChanges } from './mapping/changes.ts'
import { L2Map } from './mapping/map.ts'
import type { RuntimeOptions } from './options.ts'
import { Allocator } from './refcounts/allocator.ts'
import { Discards, PendingFrees } from './refcounts/frees.ts'
import { MetadataPreallocation } from './refcounts/metadata-preallocation.ts'
import { Reclaimer } from './refcounts/reclaimer.ts'
import { Refcounts } from './refcounts/refcounts.ts'
import type { StoredBitmap } from './tables/bitmap-directory.ts'
import { TableCache } from './tables/cache.ts'
import { MetadataStore } from './tables/metadata.ts'
import { OverlapGuard, Structure } from './tables/overlap.ts'
import type { RootTable } from './tables/root-table.ts'
import type { SnapshotRecord } from './tables/snapshot-table.ts'

/** What an image has of the node that it is behind. */
interface ImageHost extends CorruptionHost {
  readonly clock: Clock
}

/** What {@link Qcow2State} is made from. */
interface StateParts {
  readonly file: ChildHandle
  readonly dataFile?: ChildHandle | undefined
  readonly header: Header
  readonly l1: RootTable
  /** Left out: it is read when it is needed. */
  readonly refcountTable?: RootTable
  readonly options: RuntimeOptions
  readonly host: ImageHost
  readonly codec: Codec
  /** Left out: the image is not encrypted, or nobody is to read it. */
  readonly encryption?: ImageEncryption | undefined
  readonly readOnly: boolean
  /** The backing file, asked for at every use: edges of the graph come and go. */
  backing(): ChildHandle | undefined
}

/** See the top of this file. */
export class Qcow2State implements CompressedImage {
  readonly file: ChildHandle
  readonly dataFile: ChildHandle | undefined
  readonly geometry: Geometry
  readonly header: HeaderStore
  readonly store: MetadataStore
  readonly refcounts: Refcounts
  readonly allocator: Allocator
  readonly overlap: OverlapGuard
  readonly corruption: Corruption
  readonly frees: PendingFrees
  readonly discards: Discards
  readonly map: L2Map
  readonly allocations: ClusterAllocations
  readonly changes: EntryChanges
  readonly compressed: CompressedClusters
  readonly inFlight = new InFlight()
  readonly mutex = new Mutex()
  readonly codec: Codec
  readonly cipher: ImageEncryption | undefined
  readonly host: ImageHost
  readonly backing: () => ChildHandle | undefined
  options: RuntimeOptions
  readOnly: boolean
  /** Virtual disk size in bytes; whole sectors. */
  size: number
  /** Internal snapshots, in the order of their table. */
  snapshots: readonly SnapshotRecord[] = []
  /** Dirty bitmaps that the image stores, in the order of their directory. */
  bitmaps: readonly StoredBitmap[] = []
  /** Why they could not be read, in an image that was opened to be checked. */
  bitmapFault: string | undefined
  readonly run: Run = newRun()
  readonly statusYielder = new Yielder()
  private readonly reclaimer: Reclaimer
  private readonly metadataPreallocation: MetadataPreallocation
  /** Writes in place up to this host offset are known not to be too far behind the end of the file. */
  private farLimit = 0

  constructor(parts: StateParts) {
    const { file, header, options, host } = parts
    this.file = file
    this.dataFile = parts.dataFile
    this.host = host
    this.codec = parts.codec
    this.cipher = parts.encryption
    this.options = options
    this.readOnly = parts.readOnly
    this.backing = parts.backing
    this.size = alignDown(header.size, 512)
    const geometry = geometryOf(header.clusterBits, header.refcountOrder, header.incompatibleFeatures)
    this.geometry = geometry
    this.header = new HeaderStore(file, header)
    this.corruption = new Corruption(host, file, () => this.header.setIncompatible(IncompatibleBit.corrupt, true))
    this.frees = new PendingFrees(geometry.clusterSize)
    this.discards = new Discards(file, geometry.clusterSize)
    const checked = parts.readOnly ? 0 : options.overlapChecks
    this.overlap = new OverlapGuard(file, geometry, checked, this.corruption, () => this.store)
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
      this,
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
    const { store, refcounts, allocator, frees, discards } = this
    this.reclaimer = new Reclaimer({
      file,
      store,
      refcounts,
      allocator,
      frees,
      discards,
      discarded: (reason) => this.options.passDiscard[reason],
      warn: (message) => host.warn(message),
    })
    this.metadataPreallocation = new MetadataPreallocation(this)
    this.map = new L2Map(geometry, this.header, store, this.corruption)
    this.allocations = new ClusterAllocations(this)
    this.changes = new EntryChanges(this)
    this.compressed = new CompressedClusters(this)
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

  checkUsable(): void {
    // Opened to be checked, and not repaired: all clusters would pass for free.
    checkRefcountTable(this.header.value)
    if (this.corruption.broken) throw this.corruption.unusable()
  }

  get rawData(): boolean {
    return hasFeature(this.header.value.autoclearFeatures, AutoclearBit.rawExternalData)
  }

  guardWrite(offset: number, length: number): Promise<void> | undefined {
    if (this.dataFile !== undefined) return undefined
    return this.overlap.check(Structure.none, offset, length)
  }

  guardInPlace(offset: number, host: number, length: number): Promise<void> | undefined {
    if (this.dataFile !== undefined) return undefined
    const end = host + length
    if (end > this.farLimit && !this.options.allowFarOffsets) {
      this.farLimit = this.file.size + farWindow
      const place = `(guest offset: ${hex(offset)})`
      const message = `Data cluster offset ${hex(host)} far behind the end of the file ${place}`
      if (end > this.farLimit) return this.corruption.report(message, host, length)
    }
    return this.guardWrite(host, length)
  }

  get namesBacking(): boolean {
    return this.header.value.backingFile !== undefined
  }

  isPreallocated(signal: AbortSignal | undefined): Promise<boolean> {
    return this.dataFile === undefined ? this.metadataPreallocation.detect(signal) : Promise.resolve(false)
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
   * Writes all metadata in order, and takes away the references of clusters that were freed. What it wrote is not
   * flushed when it resolves: the core flushes the file after the image. Under the mutex.
   */
  async commitMetadata(): Promise<void> {
    await this.store.writeMapping()
    await this.reclaimer.reclaim()
    if (!this.store.lazy) await this.store.writeRefcounts()
  }

  /** Like {@link commitMetadata}, while others go on: takes the mutex, and leaves it while the storage discards. */
  async flushMetadata(): Promise<void> {
    try {
      await this.exclusively(async () => {
        await this.store.writeMapping()
        await this.reclaimer.begin()
        if (!this.store.lazy) await this.store.writeRefcounts()
      })
    } finally {
      if (this.discards.pending) await this.finishDiscards()
    }
  }

  /** Takes away the references of freed clusters in the same way. */
  async flushFrees(): Promise<void> {
    await this.exclusively(() => this.reclaimer.begin())
    if (this.discards.pending) await this.finishDiscards()
  }

  private async finishDiscards(): Promise<void> {
    await this.discards.settled()
    await this.exclusively(async () => {
      await this.reclaimer.end()
      if (!this.store.lazy) await this.store.writeRefcounts()
    })
  }

  /** Takes away the references of freed clusters, and waits for discards. Under the mutex. */
  reclaim(): Promise<void> {
    return this.reclaimer.reclaim()
  }

  /** Lowers the counts of a run of clusters by one, now. Under the mutex. */
  release(start: number, count: number): Promise<void> {
    return this.reclaimer.release(start, count)
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
