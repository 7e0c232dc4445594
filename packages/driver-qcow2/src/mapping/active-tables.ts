/**
 * The active L1 table and its L2 tables, as far as they may be changed. L2 tables are made where there is none and copied
 * where a snapshot shares them. The L1 table moves when it is full: the larger copy is written and flushed, then one
 * write of 12 bytes switches the header over. Under the mutex.
 */

import { announce, type DataImage, Kind, type Mutex } from '@diskgraph/clusters'
import { BlockError, isAligned } from '@diskgraph/core/driver'
import { hex } from '../bytes.ts'
import type { Corruption, CorruptionHost } from '../header/corruption.ts'
import {
  compressedDescriptor,
  entrySize,
  type Geometry,
  hiCopied,
  hiTooFar,
  maxL1TableSize,
  offsetOf,
} from '../header/layout.ts'
import type { HeaderStore } from '../header/store.ts'
import type { RuntimeOptions } from '../options.ts'
import type { Allocator } from '../refcounts/allocator.ts'
import type { FreeReason, PendingFrees } from '../refcounts/frees.ts'
import type { Refcounts } from '../refcounts/refcounts.ts'
import type { MetadataStore } from '../tables/metadata.ts'
import { type OverlapGuard, Structure } from '../tables/overlap.ts'
import { RootTable } from '../tables/root-table.ts'
import { kindOf } from './entries.ts'
import type { L2Map } from './map.ts'

/** What changes of the mapping need of an image. */
export interface MappedImage extends DataImage {
  readonly geometry: Geometry
  /** An external data file has to read as the disk does. */
  readonly rawData: boolean
  readonly header: HeaderStore
  readonly options: RuntimeOptions
  readonly store: MetadataStore
  readonly map: L2Map
  readonly refcounts: Refcounts
  readonly allocator: Allocator
  readonly frees: PendingFrees
  readonly overlap: OverlapGuard
  readonly corruption: Corruption
  readonly host: Pick<CorruptionHost, 'warn'>
  readonly mutex: Mutex
  /** Runs `work` under the mutex. */
  exclusively<Result>(work: () => Promise<Result>): Promise<Result>
  /** Before mappings rely on refcounts that are not on disk. Under the mutex. */
  prepareLinking(): Promise<void>
  /** Writes all metadata in order. Under the mutex. */
  commitMetadata(): Promise<void>
  /** Takes away the references of freed clusters, so that not too many wait. Takes the mutex. */
  flushFrees(): Promise<void>
  /** Lowers the counts of clusters by one, now. Under the mutex. */
  release(start: number, count: number): Promise<void>
}

/** Makes sure that the L2 table of `l1Index` exists and belongs to the active disk alone. */
export async function ensureTable(image: MappedImage, l1Index: number): Promise<void> {
  const { l1 } = image.store
  if (l1Index >= l1.entries) {
    throw new BlockError('EIO', `the L1 table has ${l1.entries} entries, ${l1Index + 1} are needed`)
  }
  const table = l1.offsetAt(l1Index)
  await guardTable(image, l1Index, table)
  if ((l1.high(l1Index) & hiCopied) !== 0 && table !== 0) return
  await replaceTable(image, l1Index, table)
}

/** Rejects, and marks the image, when a table that is about to be changed stands far behind the end of the file. */
async function guardTable(image: MappedImage, l1Index: number, table: number): Promise<void> {
  const { geometry } = image
  const refusal = guardRoots(image)
  if (refusal !== undefined) await refusal
  if (image.corruption.isFar(table + geometry.clusterSize)) {
    const place = `(L1 index: ${hex(l1Index)})`
    await image.corruption.report(`L2 table offset ${hex(table)} far behind the end of the file ${place}`)
  }
}

async function replaceTable(image: MappedImage, l1Index: number, old: number): Promise<void> {
  const { allocator, file, geometry, store, overlap, refcounts } = image
  const { clusterSize } = geometry
  if (old !== 0 && Math.floor(old / clusterSize) * clusterSize !== old) {
    await image.corruption.report(`L2 table offset ${hex(old)} unaligned (L1 index: ${hex(l1Index)})`)
  }
  await store.allocateL1Entry(l1Index)
  let table = allocator.tryAllocate(1)
  if (table < 0) table = await allocator.allocate(1, 'L2 table')
  const refusal = overlap.check(Structure.none, table, clusterSize)
  if (refusal !== undefined) await refusal
  try {
    const held = file.debugEvent(old === 0 ? 'l2_alloc.write' : 'l2_alloc.cow_read')
    if (held !== undefined) await held
    const data = new Uint8Array(clusterSize)
    if (old !== 0) for (let at = 0; at < clusterSize; at += store.l2.sliceSize) await copySlice(image, old, data, at)
    if (old !== 0) {
      const write = file.debugEvent('l2_alloc.write')
      if (write !== undefined) await write
    }
    await store.writeNewTable(table, data)
  } catch (error) {
    await refcounts.update(table / clusterSize, 1, -1)
    throw error
  }
  store.setL1Entry(l1Index, table, hiCopied)
  if (old !== 0) image.frees.add(old, clusterSize, 'other')
}

/** Copies one slice of the table at `old` to its place in `data`. */
async function copySlice({ store }: MappedImage, old: number, data: Uint8Array, at: number): Promise<void> {
  while (store.l2.peek(old + at) === undefined) await store.l2.load(old + at)
  data.set(store.l2.peek(old + at)!.data, at)
}

/**
 * Frees what an L2 entry pointed to, after the entry has been or is being replaced. Clusters of an external data file
 * are not counted.
 */
export function freeEntry(image: MappedImage, hi: number, lo: number, reason: FreeReason): void {
  if (image.geometry.external) return
  const kind = kindOf(image.geometry, hi, lo)
  if (kind === Kind.compressed) {
    const { offset, length } = compressedDescriptor(image.geometry, hi, lo)
    if (Number.isSafeInteger(offset + length)) image.frees.add(offset, length, reason)
  } else if (kind === Kind.normal || kind === Kind.zeroAllocated) {
    const { clusterSize } = image.geometry
    const offset = offsetOf(hi, lo)
    if ((hi & hiTooFar) !== 0 || !isAligned(offset, clusterSize)) {
      image.corruption.note(`Cannot free unaligned cluster ${hex(offset)}`)
    } else image.frees.add(offset, clusterSize, reason)
  }
}

/** Makes the active L1 table hold at least `entries` entries. Under the mutex; leaves the file flushed. */
export async function growL1(image: MappedImage, entries: number): Promise<void> {
  const { store, allocator, geometry, file, overlap, header } = image
  if (entries <= store.l1.entries) return
  if (entries > maxL1TableSize / entrySize) throw new BlockError('EFBIG', 'the L1 table would exceed its largest size')
  const misplaced = guardRoots(image)
  if (misplaced !== undefined) await misplaced
  await announce(file, 'l1_grow.alloc_table')
  const clusters = Math.ceil((entries * entrySize) / geometry.clusterSize)
  const offset = await allocator.allocate(clusters)
  const old = store.l1
  try {
    const refusal = overlap.check(Structure.none, offset, clusters * geometry.clusterSize)
    if (refusal !== undefined) await refusal
    await image.commitMetadata()
    const data = new Uint8Array(entries * entrySize)
    data.set(old.data)
    await announce(file, 'l1_grow.write_table')
    await file.write(offset, data)
    await store.flushFile()
    await announce(file, 'l1_grow.activate_table')
    await header.setL1(offset, entries)
    store.replaceL1(new RootTable(offset, data))
  } catch (error) {
    await image.release(offset / geometry.clusterSize, clusters)
    throw error
  }
  if (old.entries > 0) image.frees.add(old.offset, old.entries * entrySize, 'other')
}

/**
 * Undefined when the tables that the header points to are where they can be; else a promise that marks the image, and
 * rejects. Asked before anything is entered into them.
 */
export function guardRoots({
  store,
  corruption,
}: Pick<MappedImage, 'store' | 'corruption'>): Promise<void> | undefined {
  for (const [name, table] of [
    ['L1', store.l1],
    ['Refcount', store.refcountTable],
  ] as const) {
    if (table.entries > 0 && corruption.isFar(table.offset + table.data.byteLength)) {
      return corruption.report(`${name} table offset ${hex(table.offset)} far behind the end of the file`)
    }
  }
  return undefined
}
