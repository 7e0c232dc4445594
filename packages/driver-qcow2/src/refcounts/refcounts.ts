/**
 * How many references every host cluster has. Counts live in refcount blocks, found through the refcount table;
 * a block that does not exist stands for zeroes. All methods that change counts run under the image's mutex, and
 * every change of a run is checked as a whole block before any count in it changes.
 */

import { announce } from '@diskgraph/clusters'
import { BlockError } from '@diskgraph/core/driver'
import { hex } from '../bytes.ts'
import type { Corruption } from '../header/corruption.ts'
import { entrySize, type Geometry } from '../header/layout.ts'
import type { Slice } from '../tables/cache.ts'
import type { MetadataStore } from '../tables/metadata.ts'
import type { FileRange } from '../tables/overlap.ts'
import { refcountAt, setRefcountAt } from './entries.ts'

/** What the allocator does for the counts. */
export interface BlockMaker {
  /** Makes the refcount block `blockIndex`, outside the clusters before `avoidEnd`. */
  createBlock(blockIndex: number, avoidEnd: number): Promise<void>
  /** A cluster of the image has become free. */
  clustersFreed(start: number, count: number): void
}

/** See the top of this file. */
export class Refcounts {
  private readonly geometry: Geometry
  private readonly store: MetadataStore
  private readonly corruption: Corruption
  private maker: BlockMaker | undefined

  constructor(geometry: Geometry, store: MetadataStore, corruption: Corruption) {
    this.geometry = geometry
    this.store = store
    this.corruption = corruption
  }

  /** Joins the two halves of refcount management; called once, while the image is put together. */
  connect(maker: BlockMaker): void {
    this.maker = maker
  }

  /** The count of a cluster, or -1 when its block has to be read first. */
  peek(cluster: number): number {
    const { refcountBlockEntries, refcountOrder } = this.geometry
    if (!this.store.refcountsReady) return -1
    const blockIndex = Math.floor(cluster / refcountBlockEntries)
    const offset = this.blockOffset(blockIndex)
    if (offset === 0) return 0
    const block = this.store.blocks.peek(offset)
    if (block === undefined) return -1
    return refcountAt(block, refcountOrder, cluster - blockIndex * refcountBlockEntries)
  }

  /** The count of a cluster; 0 where no block exists. */
  async get(cluster: number): Promise<number> {
    for (;;) {
      const count = this.peek(cluster)
      if (count >= 0) return count
      if (!this.store.refcountsReady) await this.store.loadRefcountTable()
      else await this.loadBlock(Math.floor(cluster / this.geometry.refcountBlockEntries))
    }
  }

  /** Where a refcount block is; 0: it does not exist. */
  blockOffset(blockIndex: number): number {
    const { refcountTable } = this.store
    return blockIndex < refcountTable.entries ? refcountTable.offsetAt(blockIndex) : 0
  }

  /** Reads an existing block into the cache, or makes it writable. Rejects, and marks the image, when the pointer to it is damaged. */
  async loadBlock(blockIndex: number): Promise<void> {
    const offset = this.blockOffset(blockIndex)
    const { clusterSize } = this.geometry
    const { refcountTable } = this.store
    if (refcountTable.high(blockIndex) >= 0x00200000) {
      throw new BlockError('EFBIG', `refcount block ${blockIndex} lies beyond the largest possible offset`)
    }
    if (Math.floor(offset / clusterSize) * clusterSize !== offset || refcountTable.low(blockIndex) % 512 !== 0) {
      const raw = refcountTable.high(blockIndex) * 0x1_0000_0000 + refcountTable.low(blockIndex)
      await this.corruption.report(`Refblock offset ${hex(raw)} unaligned (reftable index: ${hex(blockIndex)})`)
    }
    if (this.corruption.isFar(offset + clusterSize)) {
      const place = `(reftable index: ${hex(blockIndex)})`
      await this.corruption.report(`Refblock offset ${hex(offset)} far behind the end of the file ${place}`)
    }
    await this.store.blocks.loadWritable(offset)
  }

  /**
   * Adds `delta` (1 or -1, or a larger step) to the counts of a run of clusters. All or nothing, apart from I/O
   * errors while undoing. Runs that became free are added to `freed`. EINVAL when a count would leave its range.
   */
  async update(start: number, count: number, delta: number, freed?: FileRange[]): Promise<void> {
    const { refcountBlockEntries } = this.geometry
    const held = announce(this.store.file, 'refblock_alloc', 'refblock_load')
    if (held !== undefined) await held
    let changed = 0
    try {
      while (changed < count) {
        if (this.store.blocks.crowded) await this.store.writeRefcounts()
        const cluster = start + changed
        const blockIndex = Math.floor(cluster / refcountBlockEntries)
        const index = cluster - blockIndex * refcountBlockEntries
        const run = Math.min(count - changed, refcountBlockEntries - index)
        let block = this.peekBlock(blockIndex)
        while (block === undefined) {
          await this.provideBlock(blockIndex, delta, start + count)
          block = this.peekBlock(blockIndex)
        }
        this.apply(block, cluster, run, delta, freed)
        changed += run
      }
    } catch (error) {
      if (changed > 0) await this.update(start, changed, -delta).catch(() => {})
      throw error
    }
  }

  /** A block that may be changed, if it is in memory. */
  private peekBlock(blockIndex: number): Slice | undefined {
    const offset = this.blockOffset(blockIndex)
    return offset === 0 ? undefined : this.store.blocks.peekWritable(offset)
  }

  /** Reads a block or, for counts that go up, makes it. */
  private async provideBlock(blockIndex: number, delta: number, avoidEnd: number): Promise<void> {
    if (this.blockOffset(blockIndex) !== 0) return this.loadBlock(blockIndex)
    if (delta < 0) throw underflow(blockIndex * this.geometry.refcountBlockEntries * this.geometry.clusterSize)
    return this.maker!.createBlock(blockIndex, avoidEnd)
  }

  /** Changes counts inside one block, or none if one of them would leave its range. */
  private apply(block: Slice, cluster: number, run: number, delta: number, freed: FileRange[] | undefined): void {
    const { refcountOrder, maxRefcount, clusterSize, refcountBlockEntries } = this.geometry
    const index = cluster - Math.floor(cluster / refcountBlockEntries) * refcountBlockEntries
    for (let i = index; i < index + run; i++) {
      const count = refcountAt(block, refcountOrder, i) + delta
      if (count < 0) throw underflow((cluster + i - index) * clusterSize)
      if (count > maxRefcount) {
        const at = hex((cluster + i - index) * clusterSize)
        throw new BlockError('EINVAL', `the refcount of the cluster at ${at} would exceed ${maxRefcount}`)
      }
    }
    this.store.blocks.markDirty(block)
    let freeFrom = -1
    for (let i = index; i < index + run; i++) {
      const count = refcountAt(block, refcountOrder, i) + delta
      setRefcountAt(block, refcountOrder, i, count)
      if (count === 0) {
        if (freeFrom < 0) freeFrom = i
      } else if (freeFrom >= 0) {
        this.noteFreed(cluster + freeFrom - index, i - freeFrom, freed)
        freeFrom = -1
      }
    }
    if (freeFrom >= 0) this.noteFreed(cluster + freeFrom - index, index + run - freeFrom, freed)
  }

  private noteFreed(start: number, count: number, freed: FileRange[] | undefined): void {
    const { clusterSize } = this.geometry
    this.maker!.clustersFreed(start, count)
    freed?.push({ offset: start * clusterSize, length: count * clusterSize })
  }

  /** Number of clusters that the refcount table reaches; all behind them have a count of 0. */
  get reach(): number {
    return this.store.refcountTable.entries * this.geometry.refcountBlockEntries
  }

  /** How many entries the refcount table has. */
  get tableEntries(): number {
    return this.store.refcountTable.data.byteLength / entrySize
  }
}

function underflow(offset: number): BlockError {
  return new BlockError('EINVAL', `the refcount of the cluster at ${hex(offset)} is zero and cannot be decreased`)
}

/** EIO for a count that contradicts the references to the cluster at `offset`. */
export function miscounted(offset: number): BlockError {
  const hint = 'a check with repair mends that'
  return new BlockError('EIO', `the refcount of the cluster at ${hex(offset)} is wrong`, { hint })
}
