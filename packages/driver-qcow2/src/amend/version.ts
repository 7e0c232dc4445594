/**
 * Between versions 2 and 3.
 *
 * Version 2 knows no zero clusters. Before the header says 2, the entries of all L2 tables are changed one table after
 * the other, in place, which every state in between allows in version 3: a zero cluster becomes unallocated where no
 * backing file would show, and a cluster of written zeroes where one would. A table that several mappings share is
 * changed once, for all of them. All tables are looked at before the first is changed, so that a damaged image stays
 * as it is.
 */
import { BlockError, isAligned, throwIfAborted } from '@diskgraph/core/driver'
import { hex, highHalf, lowHalf } from '../bytes.ts'
import { findExtension, initialExtensions } from '../header/extensions.ts'
import {
  ExtensionType,
  entrySize,
  hasFeature,
  headerLengthV2,
  headerLengthV3,
  hiCompressed,
  hiCopied,
  hiL2Reserved,
  IncompatibleBit,
  loL2Reserved,
  loZero,
  offsetOf,
} from '../header/layout.ts'
import { listTables, reportEntry } from '../mapping/tree.ts'
import { miscounted } from '../refcounts/refcounts.ts'
import { ReferenceCounts } from '../refcounts/reference-counts.ts'
import { rewriteTable } from '../snapshots/snapshots.ts'
import type { Qcow2State } from '../state.ts'
import { Structure } from '../tables/overlap.ts'
import { type RootTable, readTable } from '../tables/root-table.ts'
import { checkSnapshotL1 } from '../tables/snapshot-table.ts'
import { forEachTable } from '../tables/stream.ts'
import type { Progress } from './refcount-width.ts'

/** Makes a version 2 image one of version 3, whose snapshots must tell the size of the disk. Under the mutex. */
export async function upgrade(state: Qcow2State): Promise<void> {
  const { header, store, snapshots } = state
  if (snapshots.some(({ diskSize }) => diskSize === undefined)) {
    await rewriteTable(state, snapshots, state.overlap.snapshotTable)
  }
  const { extensions, clusterBits } = header.value
  const known = findExtension(extensions, ExtensionType.featureNames) !== undefined
  const names = known ? [] : initialExtensions(3, clusterBits)
  const changes = { version: 3, headerLength: headerLengthV3 } as const
  try {
    await header.update({ ...changes, extensions: [...extensions, ...names] })
  } catch (error) {
    // A long backing file name leaves no room for the names of the features.
    if (!(error instanceof BlockError) || error.code !== 'ENOSPC' || known) throw error
    await header.update(changes)
  }
  await store.flushFile()
}

/** Refuses what version 2 cannot hold. Changes nothing. */
export function checkDowngrade(state: Qcow2State, refcountOrder: number): void {
  const { incompatibleFeatures } = state.header.value
  if (refcountOrder !== 4) throw new BlockError('ENOTSUP', 'compat=0.10 requires refcount_bits=16')
  if (hasFeature(incompatibleFeatures, IncompatibleBit.externalDataFile)) {
    throw new BlockError('ENOTSUP', 'Cannot downgrade an image with a data file')
  }
  for (const { diskSize, vmStateSize } of state.snapshots) {
    if ((diskSize ?? state.size) !== state.size || vmStateSize > 0xffffffff) {
      throw new BlockError('ENOTSUP', 'Internal snapshots prevent downgrade of image')
    }
  }
}

/** Makes a version 3 image one of version 2. Under the mutex, after `makeClean`. */
export async function downgrade(state: Qcow2State, progress: Progress): Promise<void> {
  const { header, store } = state
  if ((header.value.incompatibleFeatures & ~1n) !== 0n) {
    throw new BlockError('ENOTSUP', 'Cannot downgrade an image with incompatible features set')
  }
  await expandZeroes(state, progress)
  await state.commitMetadata()
  await store.flushFile()
  const known = new Set<number>([ExtensionType.featureNames, ExtensionType.bitmaps])
  await header.update({
    version: 2,
    headerLength: headerLengthV2,
    incompatibleFeatures: 0n,
    compatibleFeatures: 0n,
    autoclearFeatures: 0n,
    extraFields: new Uint8Array(0),
    extensions: header.value.extensions.filter(({ type }) => !known.has(type)),
  })
  await store.flushFile()
}

/** An L2 table of any mapping. */
interface CountedTable {
  readonly offset: number
  /** How many L1 entries point to it. */
  readonly uses: number
  readonly active: boolean
}

async function expandZeroes(state: Qcow2State, progress: Progress): Promise<void> {
  const tables = await tablesWithZeroes(state, progress.signal)
  const { clusterSize } = state.geometry
  const list = { file: state.file, offsets: tables.map(({ offset }) => offset), tableSize: clusterSize }
  try {
    await forEachTable(list, async (index, view, at) => {
      throwIfAborted(progress.signal)
      const table = new DataView(view.buffer, view.byteOffset + at, clusterSize)
      await expandTable(state, table, tables[index]!, progress.signal)
      progress.onProgress?.(index + 1, tables.length)
    })
  } finally {
    // However this ends: tables were changed behind the back of the cache.
    state.store.l2.invalidate()
  }
}

/** Finds the tables that have to be changed. Rejects before anything is changed where any table is damaged. */
async function tablesWithZeroes(state: Qcow2State, signal: AbortSignal | undefined): Promise<CountedTable[]> {
  const { file, geometry, store, snapshots, refcounts } = state
  const uses = new ReferenceCounts(Number.MAX_SAFE_INTEGER)
  const offsets = await newTables(state, store.l1, uses)
  const activeCount = offsets.length
  const seen = new Set<number>()
  for (const snapshot of snapshots) {
    throwIfAborted(signal)
    checkSnapshotL1(snapshot, geometry.clusterSize)
    if (snapshot.l1Entries === 0) continue
    if (seen.has(snapshot.l1Offset)) throw miscounted(snapshot.l1Offset)
    seen.add(snapshot.l1Offset)
    const l1 = await readTable(file, snapshot.l1Offset, snapshot.l1Entries)
    for (const offset of await newTables(state, l1, uses)) offsets.push(offset)
  }
  const found: CountedTable[] = []
  const list = { file, offsets, tableSize: geometry.clusterSize, signal }
  await forEachTable(list, async (index, view, at) => {
    const offset = offsets[index]!
    if (!(await hasZeroes(state, view, at, offset))) return
    const table = { offset, uses: uses.get(offset / geometry.clusterSize), active: index < activeCount }
    if ((await refcounts.get(offset / geometry.clusterSize)) < table.uses) throw miscounted(offset)
    found.push(table)
  })
  return found
}

/** Counts the L2 tables of an L1 table, and lists those that were not counted before. */
async function newTables(state: Qcow2State, l1: RootTable, uses: ReferenceCounts): Promise<number[]> {
  const { offsets } = await listTables(state, l1)
  return offsets.filter((offset) => {
    const cluster = offset / state.geometry.clusterSize
    uses.increment(cluster)
    return uses.get(cluster) === 1
  })
}

/** Whether an L2 table has zero clusters. Rejects where an entry cannot be right. */
async function hasZeroes(state: Qcow2State, view: DataView, at: number, tableOffset: number): Promise<boolean> {
  const { clusterSize, l2Entries } = state.geometry
  let found = false
  for (let index = 0; index < l2Entries; index++) {
    const hi = view.getUint32(at + index * entrySize)
    const lo = view.getUint32(at + index * entrySize + 4)
    if ((lo & loZero) === 0 || (hi & hiCompressed) !== 0) continue
    found = true
    const offset = offsetOf(hi, lo)
    const reserved = (hi & hiL2Reserved) !== 0 || (lo & loL2Reserved) !== 0
    const behind = offset / clusterSize >= state.refcounts.reach
    if (!reserved && !behind && isAligned(offset, clusterSize)) continue
    if (!reserved) await reportEntry(state, view, at, tableOffset, index)
    const hint = 'a check with repair mends that'
    throw new BlockError('EIO', `entry ${index} of the L2 table at ${hex(tableOffset)} has reserved bits set`, { hint })
  }
  return found
}

/** Changes the zero clusters of one L2 table, in memory and then on disk. */
async function expandTable(
  state: Qcow2State,
  table: DataView,
  { offset, uses, active }: CountedTable,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { clusterSize } = state.geometry
  const freed: number[] = []
  const taken: number[] = []
  const shows = state.backing() !== undefined || state.header.value.backingFile !== undefined
  try {
    for (let at = 0; at < table.byteLength; at += entrySize) {
      const hi = table.getUint32(at)
      const lo = table.getUint32(at + 4)
      if ((lo & loZero) === 0 || (hi & hiCompressed) !== 0) continue
      const old = offsetOf(hi, lo)
      if (old !== 0) freed.push(old)
      throwIfAborted(signal)
      const place = shows ? await zeroCluster(state, uses, taken) : 0
      const flag = place !== 0 && active && uses === 1 ? hiCopied : 0
      table.setUint32(at, (highHalf(place) | flag) >>> 0)
      table.setUint32(at + 4, lowHalf(place))
    }
    await state.store.writeRefcounts()
    await state.store.flushFile()
    const refusal = state.overlap.check(Structure.activeL2 | Structure.inactiveL2, offset, clusterSize)
    if (refusal !== undefined) await refusal
  } catch (error) {
    for (const place of taken) for (let i = 0; i < uses; i++) await state.release(place / clusterSize, 1)
    throw error
  }
  await state.file.write(offset, new Uint8Array(table.buffer, table.byteOffset, table.byteLength))
  for (const old of freed) for (let i = 0; i < uses; i++) state.frees.add(old, clusterSize, 'other')
  if (state.frees.crowded) await state.reclaim()
}

/** A cluster of zeroes with `uses` references; `taken` lists it as soon as it has them. */
async function zeroCluster(state: Qcow2State, uses: number, taken: number[]): Promise<number> {
  const { allocator, refcounts, geometry, file } = state
  const { clusterSize } = geometry
  if (state.cipher !== undefined) {
    throw new BlockError(
      'ENOTSUP',
      'clusters that read as zeroes over an encrypted image cannot be kept in version 2',
      {
        hint: 'convert the image instead, with -o compat=0.10',
      },
    )
  }
  const offset = await allocator.allocate(1)
  try {
    if (uses > 1) await refcounts.update(offset / clusterSize, 1, uses - 1)
  } catch (error) {
    await state.release(offset / clusterSize, 1)
    throw error
  }
  taken.push(offset)
  const refusal = state.guardWrite(offset, clusterSize)
  if (refusal !== undefined) await refusal
  await file.writeZeroes(offset, clusterSize)
  return offset
}
