/**
 * Finds free clusters and takes them.
 *
 * The search starts at a hint below which nothing is free and runs upwards through the refcount blocks. Reaching a
 * block that does not exist, it makes one: in the first cluster that the block itself describes, so that no other
 * block has to change, or, where a run of free clusters leads up to it, in the first of those, so that the run is
 * not cut in two. Blocks and table thus grow in the order of the file.
 *
 * `tryAllocate` does all of it in memory, without a promise; it gives up where a block must be read or made.
 */

import { announce } from '@diskgraph/clusters'
import { alignUp, BlockError } from '@diskgraph/core/driver'
import { viewOf } from '../bytes.ts'
import type { Corruption } from '../header/corruption.ts'
import { Structure } from '../tables/overlap.ts'
import { firstFree, firstUsed, setRefcountAt } from './entries.ts'
import type { BlockMaker, Refcounts } from './refcounts.ts'
import { type GrowthParts, growRefcountTable } from './structure.ts'

/** What the allocator works with. */
interface AllocatorParts extends GrowthParts {
  readonly refcounts: Refcounts
  readonly corruption: Corruption
  /** Clusters that may have held guest data are free now. */
  forgetData(): void
}

/** See the top of this file. */
export class Allocator implements BlockMaker {
  private readonly parts: AllocatorParts
  /** No cluster below is free. */
  private hint = 0
  /** Where the search for more than one cluster goes on. */
  private runHint = 0
  /** The block at which the last search stopped, and the start of the free run that leads up to it. */
  private stoppedAtBlock = 0
  private stoppedAtRun = 0
  /** Next free byte in a cluster that holds compressed data and is not full; 0: none. */
  private byteTail = 0
  /** `tryAllocate` has raised the event of the allocation that `allocate` is to finish. */
  private announced = false
  private held: Promise<void> | undefined

  constructor(parts: AllocatorParts) {
    this.parts = parts
  }

  /**
   * Takes `count` contiguous clusters and returns the offset of the first, or -1 when that cannot be done without
   * I/O: then {@link allocate} does it.
   */
  tryAllocate(count: number): number {
    this.announced = true
    this.held = announce(this.parts.file, 'cluster_alloc', 'refblock_alloc', 'refblock_load')
    if (this.held !== undefined || this.parts.store.blocks.crowded || this.parts.header.unsure) return -1
    const start = this.search(count)
    if (start <= 0) return -1
    this.announced = false
    return this.take(start, count)
  }

  /**
   * Takes `count` contiguous clusters, whose count becomes 1, and returns the offset of the first. `what` they are for
   * is told when counts say that the header's cluster is free.
   */
  async allocate(count: number, what?: string): Promise<number> {
    const { store, geometry, file } = this.parts
    const held = this.announced ? this.held : announce(file, 'cluster_alloc', 'refblock_alloc', 'refblock_load')
    this.announced = false
    if (held !== undefined) await held
    for (;;) {
      if (this.parts.header.unsure) await this.parts.header.restore()
      if (store.blocks.crowded) await store.writeRefcounts()
      const start = this.search(count)
      if (start < 0) {
        await this.provideBlock(this.stoppedAtBlock, this.stoppedAtRun)
        continue
      }
      if (start === 0) await this.refuseHeader(count, what)
      if (start * geometry.clusterSize + count * geometry.clusterSize > Number.MAX_SAFE_INTEGER) {
        throw new BlockError('EFBIG', 'the image file cannot grow any further')
      }
      return this.take(start, count)
    }
  }

  /** Takes the clusters from `start` on as far as they are free, `count` at most; returns how many. */
  async allocateAt(start: number, count: number): Promise<number> {
    const { refcounts, geometry } = this.parts
    let free = 0
    while (free < count) {
      const cluster = start + free
      const blockIndex = Math.floor(cluster / geometry.refcountBlockEntries)
      if (refcounts.blockOffset(blockIndex) === 0) await this.provideBlock(blockIndex, cluster)
      if ((await refcounts.get(cluster)) !== 0) break
      free++
    }
    if (free > 0) await refcounts.update(start, free, 1)
    return free
  }

  /**
   * Takes `length` bytes for compressed data, which may start in the middle of a cluster that holds such data and
   * run on into the next. Every cluster touched has its count raised by one.
   */
  async allocateBytes(length: number): Promise<number> {
    const { refcounts, geometry, file } = this.parts
    const { clusterSize } = geometry
    const held = file.debugEvent('cluster_alloc_bytes')
    if (held !== undefined) await held
    let offset = await this.continueBytes(length)
    if (offset < 0) {
      // The tail may be in use while the search below waits; it is set again when the space is taken.
      this.byteTail = 0
      offset = await this.allocate(Math.ceil(length / clusterSize), 'compressed cluster')
    } else {
      await refcounts.update(Math.floor(offset / clusterSize), 1, 1)
    }
    const end = offset + length
    this.byteTail = alignUp(end, clusterSize) === end ? 0 : end
    return offset
  }

  /** The tail of the last compressed data, if `length` bytes fit there or it can be continued; else -1. */
  private async continueBytes(length: number): Promise<number> {
    const { refcounts, geometry } = this.parts
    const { clusterSize, maxRefcount } = geometry
    const tail = this.byteTail
    if (tail === 0) return -1
    const cluster = Math.floor(tail / clusterSize)
    const count = await refcounts.get(cluster)
    if (count === 0 || count >= maxRefcount) return -1
    const missing = tail + length - (cluster + 1) * clusterSize
    if (missing <= 0) return tail
    const more = Math.ceil(missing / clusterSize)
    const got = await this.allocateAt(cluster + 1, more)
    if (got === more) return tail
    if (got > 0) await refcounts.update(cluster + 1, got, -1)
    return -1
  }

  /** No more compressed data goes into clusters that are about to be free. */
  leaveTail(start: number, count: number): void {
    const tailCluster = Math.floor(this.byteTail / this.parts.geometry.clusterSize)
    if (this.byteTail !== 0 && tailCluster >= start && tailCluster < start + count) this.byteTail = 0
  }

  clustersFreed(start: number, count: number): void {
    const { clusterSize } = this.parts.geometry
    if (start < this.hint) this.hint = start
    if (start < this.runHint) this.runHint = start
    this.leaveTail(start, count)
    this.parts.forgetData()
    this.parts.store.l2.dropRange(start * clusterSize, count * clusterSize)
    this.parts.store.blocks.dropRange(start * clusterSize, count * clusterSize)
  }

  async createBlock(blockIndex: number, avoidEnd: number): Promise<void> {
    const { file, geometry, refcounts } = this.parts
    const { hint, runHint } = this
    this.hint = Math.max(hint, avoidEnd, Math.ceil(file.size / geometry.clusterSize))
    try {
      const offset = await this.allocate(1, 'refcount block')
      if (refcounts.blockOffset(blockIndex) !== 0) {
        await refcounts.update(Math.floor(offset / geometry.clusterSize), 1, -1)
        return
      }
      const refusal = this.parts.overlap.check(Structure.none, offset, geometry.clusterSize)
      if (refusal !== undefined) await refusal
      await this.writeBlock(blockIndex, offset, new Uint8Array(geometry.clusterSize))
    } finally {
      this.hint = Math.min(hint, this.hint)
      this.runHint = Math.min(runHint, this.runHint)
    }
  }

  /** Forgets what it knows of free space: the counts were rebuilt. */
  reset(): void {
    this.hint = 0
    this.runHint = 0
    this.byteTail = 0
  }

  /** The first of `count` free clusters in a row, or -1 where a block is not in memory (`stoppedAt…`). */
  private search(count: number): number {
    const { geometry, refcounts, store } = this.parts
    const { refcountBlockEntries: entries, refcountOrder } = geometry
    let cluster = count === 1 ? this.hint : Math.max(this.hint, this.runHint)
    let runStart = cluster
    for (;;) {
      const blockIndex = Math.floor(cluster / entries)
      const offset = refcounts.blockOffset(blockIndex)
      const block = offset === 0 ? undefined : store.blocks.peekWritable(offset)
      if (block === undefined) return this.stop(blockIndex, cluster, count, runStart)
      const base = blockIndex * entries
      let index = cluster - base
      while (index < entries) {
        const free = firstFree(block, refcountOrder, index, entries)
        if (free > index) runStart = base + free
        if (free === entries) break
        const wanted = Math.min(entries, runStart + count - base)
        const used = firstUsed(block, refcountOrder, free, wanted)
        if (base + used - runStart >= count) return runStart
        index = used
      }
      cluster = base + entries
    }
  }

  private stop(blockIndex: number, cluster: number, count: number, runStart: number): number {
    this.stoppedAtBlock = blockIndex
    this.stoppedAtRun = runStart
    if (count === 1) this.hint = cluster
    else this.runHint = runStart
    return -1
  }

  private take(start: number, count: number): number {
    const { geometry, refcounts, store } = this.parts
    const { refcountBlockEntries: entries, refcountOrder } = geometry
    for (let taken = 0; taken < count; ) {
      const blockIndex = Math.floor((start + taken) / entries)
      const block = store.blocks.peek(refcounts.blockOffset(blockIndex))!
      const index = start + taken - blockIndex * entries
      const run = Math.min(count - taken, entries - index)
      for (let i = index; i < index + run; i++) setRefcountAt(block, refcountOrder, i, 1)
      store.blocks.markDirty(block)
      taken += run
    }
    if (count === 1) this.hint = start + 1
    else {
      this.runHint = start + count
      if (start === this.hint) this.hint = start + count
    }
    return start * geometry.clusterSize
  }

  /** Reads a block, or makes it in `cluster`, which is free and described by it or by a block before it. */
  private async provideBlock(blockIndex: number, cluster: number): Promise<void> {
    const { refcounts, geometry, overlap, file } = this.parts
    const { clusterSize, refcountBlockEntries, refcountOrder } = geometry
    if (refcounts.blockOffset(blockIndex) !== 0) return refcounts.loadBlock(blockIndex)
    if (blockIndex >= refcounts.tableEntries) return growRefcountTable(this.parts, blockIndex, cluster)
    const held = announce(file, 'refblock_alloc', 'refblock_alloc.write')
    if (held !== undefined) await held
    if (cluster === 0) await this.refuseHeader(1, 'refcount block')
    const offset = cluster * clusterSize
    const refusal = overlap.check(Structure.none, offset, clusterSize)
    if (refusal !== undefined) await refusal
    const describing = Math.floor(cluster / refcountBlockEntries)
    if (describing !== blockIndex) await refcounts.update(cluster, 1, 1)
    const data = new Uint8Array(clusterSize)
    const index = cluster - blockIndex * refcountBlockEntries
    if (describing === blockIndex) setRefcountAt({ data, view: viewOf(data) }, refcountOrder, index, 1)
    await this.writeBlock(blockIndex, offset, data)
  }

  /** The cluster of the header is free, say the counts. Rejects, and marks the image. */
  private async refuseHeader(count: number, what?: string): Promise<void> {
    const { overlap, corruption, geometry } = this.parts
    const length = count * geometry.clusterSize
    const refusal = what === undefined ? overlap.check(Structure.none, 0, length) : undefined
    if (refusal !== undefined) await refusal
    await corruption.report(`Preventing invalid allocation of ${what ?? 'clusters'} at offset 0`, 0, length)
  }

  /** Writes a new block into a cluster that is taken, and enters it into the table; the cluster is free if that fails. */
  private async writeBlock(blockIndex: number, offset: number, data: Uint8Array): Promise<void> {
    const { store, geometry, refcounts } = this.parts
    try {
      await store.allocateRefcountTableEntry(blockIndex)
      await store.writeNewBlock(offset, data)
    } catch (error) {
      const cluster = offset / geometry.clusterSize
      const described = Math.floor(cluster / geometry.refcountBlockEntries) !== blockIndex
      if (described) await refcounts.update(cluster, 1, -1)
      throw error
    }
    store.setRefcountTableEntry(blockIndex, offset)
  }
}
