/**
 * The guard before every write: no data and no metadata may land on a metadata structure that it is not part of.
 * Fixed tables are kept as ranges, L2 tables and refcount blocks as bitmaps of clusters, so that a check costs the
 * same however large the image is.
 */
import { alignUp, type ChildHandle } from '@diskgraph/core/driver'
import type { Corruption } from '../header/corruption.ts'
import { entrySize, type Geometry } from '../header/layout.ts'
import { RootTable } from './root-table.ts'

/** Kinds of metadata, as bits. */
export const Structure = {
  none: 0,
  mainHeader: 1,
  activeL1: 2,
  activeL2: 4,
  refcountTable: 8,
  refcountBlock: 16,
  snapshotTable: 32,
  inactiveL1: 64,
  inactiveL2: 128,
  bitmapDirectory: 256,
} as const

const constantStructures =
  Structure.mainHeader |
  Structure.activeL1 |
  Structure.refcountTable |
  Structure.snapshotTable |
  Structure.bitmapDirectory
const cachedStructures = constantStructures | Structure.activeL2 | Structure.refcountBlock | Structure.inactiveL1

/** Which structures the values of the option `overlap-check` stand for. */
export const overlapTemplates: Readonly<Record<string, number>> = {
  none: 0,
  constant: constantStructures,
  cached: cachedStructures,
  all: cachedStructures | Structure.inactiveL2,
}

const names: readonly (readonly [number, string])[] = [
  [Structure.mainHeader, 'qcow2_header'],
  [Structure.activeL1, 'active L1 table'],
  [Structure.activeL2, 'active L2 table'],
  [Structure.refcountTable, 'refcount table'],
  [Structure.refcountBlock, 'refcount block'],
  [Structure.snapshotTable, 'snapshot table'],
  [Structure.inactiveL1, 'inactive L1 table'],
  [Structure.inactiveL2, 'inactive L2 table'],
  [Structure.bitmapDirectory, 'bitmap directory'],
]

/** A range of the image file. */
export interface FileRange {
  readonly offset: number
  readonly length: number
}

const noRange: FileRange = { offset: 0, length: 0 }

/** See the top of this file. */
export class OverlapGuard {
  /** Structures that are checked: a mask of {@link Structure}. */
  checked: number
  snapshotTable: FileRange = noRange
  bitmapDirectory: FileRange = noRange
  private readonly file: ChildHandle
  private readonly geometry: Geometry
  private readonly corruption: Corruption
  private readonly tables: () => { readonly l1: RootTable; readonly refcountTable: RootTable }
  private l2Tables: ClusterSet | undefined
  private refcountBlocks: ClusterSet | undefined
  private inactiveL1: readonly FileRange[] = []
  private inactiveL2: ClusterSet | undefined

  constructor(
    file: ChildHandle,
    geometry: Geometry,
    checked: number,
    corruption: Corruption,
    tables: () => { readonly l1: RootTable; readonly refcountTable: RootTable },
  ) {
    this.file = file
    this.geometry = geometry
    this.checked = checked
    this.corruption = corruption
    this.tables = tables
  }

  /** Tells where the L1 tables of the internal snapshots are. */
  setInactiveL1(tables: readonly FileRange[]): void {
    this.inactiveL1 = tables
    this.inactiveL2 = undefined
  }

  /** The L1 table or the refcount table was replaced as a whole, or tables moved. */
  tablesReplaced(): void {
    this.l2Tables = undefined
    this.refcountBlocks = undefined
    this.inactiveL2 = undefined
  }

  /** An entry of the L1 table changed from one host offset to another (0: none). */
  l2TableMoved(from: number, to: number): void {
    moveCluster(this.l2Tables, this.geometry.clusterSize, from, to)
  }

  /** An entry of the refcount table changed. */
  refcountBlockMoved(from: number, to: number): void {
    moveCluster(this.refcountBlocks, this.geometry.clusterSize, from, to)
  }

  /**
   * Undefined when a write to this range harms nothing but the structures in `ignored`; otherwise a promise that
   * marks the image as corrupt and rejects, or, where inactive L2 tables have to be read first, decides then.
   */
  check(ignored: number, offset: number, length: number): Promise<void> | undefined {
    const mask = this.checked & ~ignored
    if (mask === 0 || length === 0) return undefined
    const hit = this.find(mask, offset, length)
    if (hit !== 0) return this.reject(hit, offset, length)
    if ((mask & Structure.inactiveL2) !== 0 && this.inactiveL1.length > 0) {
      if (this.inactiveL2 === undefined) return this.checkInactiveL2(offset, length)
      if (this.touches(this.inactiveL2, offset, length)) return this.reject(Structure.inactiveL2, offset, length)
    }
    return undefined
  }

  private find(mask: number, offset: number, length: number): number {
    const end = offset + length
    if ((mask & Structure.mainHeader) !== 0 && offset < this.geometry.clusterSize) return Structure.mainHeader
    const { l1, refcountTable } = this.tables()
    if ((mask & Structure.activeL1) !== 0 && offset < l1.offset + l1.entries * entrySize && end > l1.offset) {
      return Structure.activeL1
    }
    if ((mask & Structure.activeL2) !== 0) {
      this.l2Tables ??= clustersOf(l1, this.geometry.clusterSize)
      if (this.touches(this.l2Tables, offset, length)) return Structure.activeL2
    }
    const tableEnd = refcountTable.offset + refcountTable.entries * entrySize
    if ((mask & Structure.refcountTable) !== 0 && offset < tableEnd && end > refcountTable.offset) {
      return Structure.refcountTable
    }
    if ((mask & Structure.refcountBlock) !== 0) {
      this.refcountBlocks ??= clustersOf(refcountTable, this.geometry.clusterSize)
      if (this.touches(this.refcountBlocks, offset, length)) return Structure.refcountBlock
    }
    if ((mask & Structure.snapshotTable) !== 0 && overlaps(this.snapshotTable, offset, end)) {
      return Structure.snapshotTable
    }
    if ((mask & Structure.inactiveL1) !== 0 && this.inactiveL1.length > 0) {
      for (const table of this.inactiveL1) if (overlaps(table, offset, end)) return Structure.inactiveL1
    }
    if ((mask & Structure.bitmapDirectory) !== 0 && overlaps(this.bitmapDirectory, offset, end)) {
      return Structure.bitmapDirectory
    }
    return 0
  }

  private touches(clusters: ClusterSet, offset: number, length: number): boolean {
    const { clusterSize } = this.geometry
    return clusters.hasAny(Math.floor(offset / clusterSize), Math.floor((offset + length - 1) / clusterSize))
  }

  private async checkInactiveL2(offset: number, length: number): Promise<void> {
    const found = await this.findInactiveL2()
    this.inactiveL2 = found
    if (this.touches(found, offset, length)) await this.reject(Structure.inactiveL2, offset, length)
  }

  /** The clusters of all L2 tables that the L1 tables of snapshots point to; only what lies in the file is read. */
  private async findInactiveL2(): Promise<ClusterSet> {
    const { file } = this
    const found = new ClusterSet()
    for (const { offset, length } of this.inactiveL1) {
      const inside = Math.min(alignUp(length, 8), Math.max(0, file.size - offset))
      const data = new Uint8Array(inside - (inside % 8))
      if (data.byteLength === 0) continue
      await file.read(offset, data)
      addClustersOf(found, new RootTable(offset, data), this.geometry.clusterSize)
    }
    return found
  }

  private reject(hit: number, offset: number, length: number): Promise<never> {
    const name = names.find(([bit]) => bit === hit)![1]
    return this.corruption.report(`Preventing invalid write on metadata (overlaps with ${name})`, offset, length)
  }
}

function overlaps(range: FileRange, offset: number, end: number): boolean {
  return offset < range.offset + range.length && end > range.offset
}

/** The clusters that the entries of a table point to. */
function clustersOf(table: RootTable, clusterSize: number): ClusterSet {
  const clusters = new ClusterSet()
  addClustersOf(clusters, table, clusterSize)
  return clusters
}

/** Adds the clusters that the entries of a table point to. */
function addClustersOf(clusters: ClusterSet, table: RootTable, clusterSize: number): void {
  for (let index = 0; index < table.entries; index++) {
    const offset = table.offsetAt(index)
    if (offset !== 0) clusters.add(Math.floor(offset / clusterSize))
  }
}

function moveCluster(clusters: ClusterSet | undefined, clusterSize: number, from: number, to: number): void {
  if (clusters === undefined) return
  if (from !== 0) clusters.delete(Math.floor(from / clusterSize))
  if (to !== 0) clusters.add(Math.floor(to / clusterSize))
}

const pageBits = 8192
const pageWords = pageBits / 32

/** A set of host cluster indices as bitmap pages: small where it is sparse, and asked for whole ranges at once. */
export class ClusterSet {
  private readonly pages = new Map<number, Uint32Array>()

  add(index: number): void {
    const number = Math.floor(index / pageBits)
    let page = this.pages.get(number)
    if (page === undefined) {
      page = new Uint32Array(pageWords)
      this.pages.set(number, page)
    }
    const bit = index - number * pageBits
    page[bit >>> 5]! |= 1 << (bit & 31)
  }

  delete(index: number): void {
    const number = Math.floor(index / pageBits)
    const page = this.pages.get(number)
    if (page === undefined) return
    const bit = index - number * pageBits
    page[bit >>> 5]! &= ~(1 << (bit & 31))
  }

  has(index: number): boolean {
    const number = Math.floor(index / pageBits)
    const page = this.pages.get(number)
    if (page === undefined) return false
    const bit = index - number * pageBits
    return (page[bit >>> 5]! & (1 << (bit & 31))) !== 0
  }

  /** Whether any index from `first` to `last`, both included, is in the set. */
  hasAny(first: number, last: number): boolean {
    if (this.pages.size === 0) return false
    if (first === last) return this.has(first)
    for (let index = first; index <= last; ) {
      const number = Math.floor(index / pageBits)
      const pageEnd = (number + 1) * pageBits
      const page = this.pages.get(number)
      const end = Math.min(last + 1, pageEnd)
      if (page !== undefined && anyBit(page, index - number * pageBits, end - number * pageBits)) return true
      index = end
    }
    return false
  }
}

function anyBit(page: Uint32Array, from: number, to: number): boolean {
  for (let bit = from; bit < to; ) {
    const word = page[bit >>> 5]!
    if (word === 0) {
      bit = (bit | 31) + 1
      continue
    }
    if ((word & (1 << (bit & 31))) !== 0) return true
    bit++
  }
  return false
}
