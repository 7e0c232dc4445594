/**
 * From guest offsets to host clusters, through the active L1 table and slices of its L2 tables. `peek` answers from
 * memory, without allocating, and says when a slice has to be read first; `find` reads it.
 */

import { type DataMap, Kind, newRun, type Run } from '@diskgraph/clusters'
import { BlockError, isAligned } from '@diskgraph/core/driver'
import { hex } from '../bytes.ts'
import type { Corruption } from '../header/corruption.ts'
import { entrySize, type Geometry, hiCompressed, hiCopied, hiTooFar, loZero, offsetOf } from '../header/layout.ts'
import type { HeaderStore } from '../header/store.ts'
import type { MetadataStore } from '../tables/metadata.ts'
import { isMisplaced, kindOf, markDamaged } from './entries.ts'
import { scanSubclusters } from './subclusters.ts'

/** Where the slice with the L2 entry of a guest cluster is, and the place of the entry in it, in bytes. */
interface EntryPlace {
  readonly slice: number
  readonly at: number
  /** Entries from this one to the end of the slice. */
  readonly rest: number
}

/** See the top of this file. */
export class L2Map implements DataMap {
  private readonly geometry: Geometry
  private readonly header: HeaderStore
  private readonly store: MetadataStore
  private readonly corruption: Corruption
  /** For lookups inside one call. */
  private readonly run = newRun()

  constructor(geometry: Geometry, header: HeaderStore, store: MetadataStore, corruption: Corruption) {
    this.geometry = geometry
    this.header = header
    this.store = store
    this.corruption = corruption
  }

  peek(offset: number, length: number, run: Run): void {
    const { geometry, store } = this
    const { clusterSize, l2Entries } = geometry
    const cluster = Math.floor(offset / clusterSize)
    const l1Index = Math.floor(cluster / l2Entries)
    const { l1 } = store
    const table = l1Index < l1.entries ? l1.offsetAt(l1Index) : 0
    if (table === 0) {
      run.kind = Kind.unallocated
      run.copied = false
      run.length = Math.min(length, (l1Index + 1) * geometry.l2Span - offset)
      return
    }
    if (Math.floor(table / clusterSize) * clusterSize !== table || !Number.isSafeInteger(table)) {
      markDamaged(run)
      return
    }
    const { l2 } = store
    const perSlice = l2.sliceSize / geometry.l2EntrySize
    const l2Index = cluster - l1Index * l2Entries
    const sliceIndex = Math.floor(l2Index / perSlice)
    const sliceOffset = table + sliceIndex * l2.sliceSize
    const slice = l2.peek(sliceOffset)
    if (slice === undefined) {
      run.kind = Kind.missing
      run.length = 0
      run.table = sliceOffset
      return
    }
    run.length = length
    run.host = offset - cluster * clusterSize
    const index = l2Index - sliceIndex * perSlice
    if (geometry.extended) scanSubclusters(geometry, slice.view, index, cluster * clusterSize, run)
    else this.scan(slice.view, index, cluster * clusterSize, run)
  }

  async find(offset: number, length: number, run: Run): Promise<void> {
    for (;;) {
      this.peek(offset, length, run)
      if (run.kind >= 0) return
      if (run.kind === Kind.damaged) await this.reportDamage(offset)
      await this.store.l2.load(run.table)
    }
  }

  peekReusable(offset: number, length: number): number {
    const { run } = this
    let host = 0
    let zeroes = false
    let covered = 0
    const limit = Math.min(length, this.endOfSlice(offset) - offset)
    while (covered < limit) {
      this.peek(offset + covered, limit - covered, run)
      // Of subclusters that are not there yet, `copied` says that they have room in a cluster.
      const reusable = run.copied && run.kind !== Kind.compressed && run.kind >= 0
      if (!reusable || (covered > 0 && run.host !== host)) break
      if (run.kind !== Kind.normal) zeroes = true
      covered += run.length
      host = run.host + run.length
    }
    return zeroes ? covered : 0
  }

  /** Guest offset behind the slice with the entry for `offset`. */
  private endOfSlice(offset: number): number {
    const span = (this.store.l2.sliceSize / this.geometry.l2EntrySize) * this.geometry.clusterSize
    return (Math.floor(offset / span) + 1) * span
  }

  /** Index of the L1 entry for a guest offset. */
  l1Index(offset: number): number {
    return Math.floor(offset / this.geometry.l2Span)
  }

  next(offset: number): number {
    const { l1 } = this.store
    let index = this.l1Index(offset)
    while (index < l1.entries && l1.offsetAt(index) === 0) index++
    return index < l1.entries ? Math.max(offset, index * this.geometry.l2Span) : Number.POSITIVE_INFINITY
  }

  /** The place of the L2 entry for `offset`; the L2 table exists. */
  place(offset: number): EntryPlace {
    const { geometry, store } = this
    const cluster = Math.floor(offset / geometry.clusterSize)
    const l1Index = Math.floor(cluster / geometry.l2Entries)
    const l2Index = cluster - l1Index * geometry.l2Entries
    const perSlice = store.l2.sliceSize / geometry.l2EntrySize
    const sliceIndex = Math.floor(l2Index / perSlice)
    const index = l2Index - sliceIndex * perSlice
    return {
      slice: store.l1.offsetAt(l1Index) + sliceIndex * store.l2.sliceSize,
      at: index * geometry.l2EntrySize,
      rest: perSlice - index,
    }
  }

  /**
   * Finds out how far the entries from `index` of a slice on are of one kind and contiguous. `run` comes with the
   * length that is asked for, and with the offset in the first cluster, which begins at `guest`, as `host`.
   */
  private scan(view: DataView, index: number, guest: number, run: Run): void {
    const { geometry } = this
    const { clusterSize, external } = geometry
    const { length, host: inCluster } = run
    const hi = view.getUint32(index * entrySize)
    const lo = view.getUint32(index * entrySize + 4)
    const kind = kindOf(geometry, hi, lo)
    const placed = kind === Kind.normal || kind === Kind.zeroAllocated
    run.kind = kind
    run.copied = placed && (hi & hiCopied) !== 0
    run.length = Math.min(length, clusterSize - inCluster)
    if (kind === Kind.compressed) {
      if (external) markDamaged(run)
      return
    }
    if ((kind === Kind.zero || kind === Kind.zeroAllocated) && this.header.value.version < 3) {
      markDamaged(run)
      return
    }
    let host = 0
    if (placed) {
      host = offsetOf(hi, lo)
      if (isMisplaced(geometry, hi, host, guest)) {
        markDamaged(run)
        return
      }
      run.host = host + inCluster
    }
    const entries = Math.min(view.byteLength / entrySize, index + Math.ceil((inCluster + length) / clusterSize))
    let covered = clusterSize - inCluster
    for (let next = index + 1; next < entries; next++) {
      const nextHi = view.getUint32(next * entrySize)
      const nextLo = view.getUint32(next * entrySize + 4)
      if (kindOf(geometry, nextHi, nextLo) !== kind || ((nextHi ^ hi) & hiCopied) !== 0) break
      if (placed) {
        host += clusterSize
        if (offsetOf(nextHi, nextLo) !== host) break
      }
      covered += clusterSize
    }
    run.length = Math.min(length, covered)
  }

  private async reportDamage(offset: number): Promise<void> {
    const { geometry, store, corruption } = this
    const cluster = Math.floor(offset / geometry.clusterSize)
    const l1Index = Math.floor(cluster / geometry.l2Entries)
    const table = store.l1.offsetAt(l1Index)
    const tooFar = `the mapping of guest offset ${hex(offset)} points beyond the largest possible offset`
    if (!Number.isSafeInteger(table)) throw new BlockError('EFBIG', tooFar)
    if (Math.floor(table / geometry.clusterSize) * geometry.clusterSize !== table) {
      await corruption.report(`L2 table offset ${hex(table)} unaligned (L1 index: ${hex(l1Index)})`)
    }
    const l2Index = cluster - l1Index * geometry.l2Entries
    const { slice: sliceOffset, at } = this.place(offset)
    const slice = store.l2.peek(sliceOffset)
    if (slice === undefined) return
    const hi = slice.view.getUint32(at)
    const lo = slice.view.getUint32(at + 4)
    const index = `L2 index: ${hex(l2Index)})`
    const where = `(L2 offset: ${hex(table)}, ${index}`
    if (geometry.external && (hi & hiCompressed) !== 0) {
      await corruption.report(`Compressed cluster entry found in image with external data file ${where}`)
    }
    if ((lo & loZero) !== 0 && this.header.value.version < 3) {
      await corruption.report(`Zero cluster entry found in pre-v3 image ${where}`)
    }
    if ((hi & hiTooFar) !== 0) throw new BlockError('EFBIG', tooFar)
    const host = offsetOf(hi, lo)
    if (!isAligned(host, geometry.clusterSize)) {
      await corruption.report(`Cluster allocation offset ${hex(host)} unaligned ${where}`)
    }
    if (geometry.external && isMisplaced(geometry, hi, host, cluster * geometry.clusterSize)) {
      const guest = hex(cluster * geometry.clusterSize)
      const message = `External data file host cluster offset ${hex(host)} does not match guest cluster offset: ${guest}`
      await corruption.report(`${message}, ${index}`)
    }
    await corruption.report(`Invalid cluster entry found  ${where}`)
  }
}
