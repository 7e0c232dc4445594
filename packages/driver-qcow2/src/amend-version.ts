/**
 * Between versions 2 and 3.
 *
 * Version 2 knows no zero clusters. Before the header says 2, the entries of all L2 tables are changed one table after
 * the other, in place, which every state in between allows in version 3: a zero cluster becomes unallocated where no
 * backing file would show, and a cluster of written zeroes where one would. A table that several mappings share is
 * changed once, for all of them.
 */
import { BlockError, throwIfAborted } from '@diskgraph/core'
import type { Progress } from './amend-refcounts.ts'
import { ClusterSet } from './cluster-set.ts'
import { initialExtensions } from './header.ts'
import { hasFeature } from './header-checks.ts'
import { findExtension } from './header-extensions.ts'
import {
  ExtensionType,
  entrySize,
  headerLengthV2,
  headerLengthV3,
  hiCompressed,
  hiCopied,
  highHalf,
  IncompatibleBit,
  lowHalf,
  loZero,
  offsetOf,
} from './layout.ts'
import type { RootTable } from './root-table.ts'
import type { Qcow2State } from './state.ts'
import { forEachTable } from './table-stream.ts'
import { readTable } from './tables.ts'

/** Makes a version 2 image one of version 3. Under the mutex. */
export async function upgrade(state: Qcow2State): Promise<void> {
  const { header, store } = state
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

async function expandZeroes(state: Qcow2State, progress: Progress): Promise<void> {
  const { clusterSize } = state.geometry
  const seen = new ClusterSet()
  const lists = [tablesOf(state.store.l1, seen, clusterSize)]
  for (const { l1Offset, l1Entries } of state.snapshots) {
    lists.push(tablesOf(await readTable(state.file, l1Offset, l1Entries), seen, clusterSize))
  }
  const total = lists.reduce((sum, list) => sum + list.length, 0)
  let done = 0
  for (const [number, offsets] of lists.entries()) {
    await forEachTable({ file: state.file, offsets, tableSize: clusterSize }, async (index, view, at) => {
      throwIfAborted(progress.signal)
      const table = new DataView(view.buffer, view.byteOffset + at, clusterSize)
      await expandTable(state, table, offsets[index]!, number === 0)
      progress.onProgress?.(++done, total)
    })
  }
  state.store.l2.invalidate()
}

/** The L2 tables of an L1 table that have not been seen yet. */
function tablesOf(l1: RootTable, seen: ClusterSet, clusterSize: number): number[] {
  const offsets: number[] = []
  for (let index = 0; index < l1.entries; index++) {
    const offset = l1.offsetAt(index)
    const cluster = Math.floor(offset / clusterSize)
    if (offset === 0 || seen.has(cluster)) continue
    seen.add(cluster)
    offsets.push(offset)
  }
  return offsets
}

/** Changes the zero clusters of one L2 table, in memory and then on disk. */
async function expandTable(state: Qcow2State, table: DataView, offset: number, active: boolean): Promise<void> {
  const { clusterSize } = state.geometry
  const uses = await state.refcounts.get(offset / clusterSize)
  const freed: number[] = []
  let changed = false
  for (let at = 0; at < table.byteLength; at += entrySize) {
    const hi = table.getUint32(at)
    const lo = table.getUint32(at + 4)
    if ((lo & loZero) === 0 || (hi & hiCompressed) !== 0) continue
    const old = offsetOf(hi, lo)
    if (old !== 0) freed.push(old)
    const place =
      state.backing() === undefined && state.header.value.backingFile === undefined ? 0 : await zeroCluster(state, uses)
    const flag = place !== 0 && active && uses === 1 ? hiCopied : 0
    table.setUint32(at, (highHalf(place) | flag) >>> 0)
    table.setUint32(at + 4, lowHalf(place))
    changed = true
  }
  if (!changed) return
  await state.store.writeRefcounts()
  await state.store.flushFile()
  await state.file.write(offset, new Uint8Array(table.buffer, table.byteOffset, table.byteLength))
  for (const old of freed) for (let i = 0; i < uses; i++) state.frees.add(old, clusterSize, 'other')
  if (state.frees.crowded) await state.settleFrees()
}

/** A cluster of zeroes with `uses` references. */
async function zeroCluster(state: Qcow2State, uses: number): Promise<number> {
  const { allocator, refcounts, geometry, file } = state
  const { clusterSize } = geometry
  const offset = await allocator.allocate(1)
  if (uses > 1) await refcounts.update(offset / clusterSize, 1, uses - 1)
  const refusal = state.guardWrite(offset, clusterSize)
  if (refusal !== undefined) await refusal
  await file.writeZeroes(offset, clusterSize)
  return offset
}
