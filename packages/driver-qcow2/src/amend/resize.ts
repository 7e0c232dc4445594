/**
 * Changing the size of the disk. All of it runs drained, under the mutex.
 *
 * Growing moves the L1 table when it is full. Shrinking gives up the clusters behind the new end first; then the size in the header
 * goes down, and the file is cut after its last cluster in use.
 */

import { Kind, newRun, Yielder, zeroPart, zeroRange } from '@diskgraph/clusters'
import { alignUp, BlockError, type TruncateOptions } from '@diskgraph/core/driver'
import { entrySize, maxL1TableSize } from '../header/layout.ts'
import { growL1 } from '../mapping/active-tables.ts'
import { preallocate } from '../mapping/allocation.ts'
import { discardRange } from '../mapping/changes.ts'
import { miscounted } from '../refcounts/refcounts.ts'
import type { Qcow2State } from '../state.ts'

/** Sets the virtual disk size. */
export async function truncate(
  state: Qcow2State,
  size: number,
  options: TruncateOptions,
  signal?: AbortSignal,
): Promise<void> {
  state.checkUsable()
  checkSize(state, size)
  const old = state.size
  if (size < old) await shrink(state, size, options, signal)
  else if (size > old) await grow(state, size, options, signal)
}

function checkSize(state: Qcow2State, size: number): void {
  if (size % 512 !== 0) throw new BlockError('EINVAL', 'The new size must be a multiple of 512')
  const { value } = state.header
  if (value.nbSnapshots > 0 && value.version < 3) {
    throw new BlockError('ENOTSUP', "Can't resize a v2 image which has snapshots")
  }
  const entries = Math.ceil(size / state.geometry.l2Span)
  if (entries > maxL1TableSize / entrySize)
    throw new BlockError('EFBIG', 'Failed to grow the L1 table: Image is too big')
}

async function shrink(
  state: Qcow2State,
  size: number,
  options: TruncateOptions,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (options.preallocation !== undefined && options.preallocation !== 'off') {
    throw new BlockError('EINVAL', "Preallocation can't be used for shrinking an image")
  }
  const { clusterSize } = state.geometry
  const start = alignUp(size, clusterSize)
  if (start < state.size) {
    const settings = { full: true, reason: 'request' as const }
    await discardRange(state, start, state.size - start, settings, signal)
  }
  await state.exclusively(async () => {
    await dropTables(state, Math.ceil(size / state.geometry.l2Span), Math.ceil(state.size / state.geometry.l2Span))
    await state.commitMetadata()
    await state.store.flushFile()
    await state.header.setSize(size)
    state.size = size
    await cutFile(state, signal)
    await state.dataFile?.truncate(size, options)
  })
}

/** Gives up the L2 tables of a range of L1 entries; what they map has been discarded. */
async function dropTables(state: Qcow2State, from: number, to: number): Promise<void> {
  const { store, geometry } = state
  for (let index = from; index < Math.min(to, store.l1.entries); index++) {
    const table = store.l1.offsetAt(index)
    if (table === 0) continue
    store.setL1Entry(index, 0, 0)
    state.frees.add(table, geometry.clusterSize, 'request')
  }
}

/** Cuts the file behind its last cluster in use, which is a tidying up: what counts is done. */
export async function cutFile(state: Qcow2State, signal?: AbortSignal): Promise<void> {
  const { file, geometry } = state
  try {
    const end = ((await lastUsedCluster(state, signal)) + 1) * geometry.clusterSize
    if (end >= file.size) return
    if (end < endOfTables(state)) throw miscounted(end)
    await file.truncate(end, { exact: false })
  } catch {
    state.host.warn('qcow2: the image is smaller now, but its file could not be cut')
  }
}

/** Where the last of the tables ends that the header points to: counts that say nothing is there are damaged. */
function endOfTables({ store, overlap }: Qcow2State): number {
  const tables = [store.l1, store.refcountTable].map(({ offset, data }) => ({ offset, length: data.byteLength }))
  const ends = [...tables, overlap.snapshotTable].map(({ offset, length }) => (length === 0 ? 0 : offset + length))
  return Math.max(...ends)
}

/** The last cluster of the file with a reference. Takes as long as there are refcount blocks behind it. */
async function lastUsedCluster(state: Qcow2State, signal: AbortSignal | undefined): Promise<number> {
  const { file, geometry, refcounts } = state
  const { refcountBlockEntries: entries, clusterSize } = geometry
  const yielder = new Yielder(signal)
  let last = Math.min(Math.ceil(file.size / clusterSize), refcounts.reach) - 1
  while (last > 0) {
    const index = Math.floor(last / entries)
    if (refcounts.blockOffset(index) !== 0) {
      await refcounts.get(last)
      while (last >= index * entries && refcounts.peek(last) === 0) last--
      if (last >= index * entries) return last
    }
    last = index * entries - 1
    const turn = yielder.step(entries)
    if (turn !== undefined) await turn
  }
  return 0
}

async function grow(
  state: Qcow2State,
  size: number,
  options: TruncateOptions,
  signal: AbortSignal | undefined,
): Promise<void> {
  const old = state.size
  const { l2Span } = state.geometry
  await state.exclusively(() => growL1(state, Math.ceil(size / l2Span)))
  const { extended } = state.geometry
  const wanted = options.preallocation ?? 'off'
  const mode = wanted === 'off' && state.rawData ? 'metadata' : wanted
  if (mode !== 'off') await preallocate(state, { start: old, end: size, mode }, signal)
  if (state.dataFile !== undefined && state.dataFile.size !== size) await state.dataFile.truncate(size)
  await hideOldContent(
    state,
    old,
    size,
    { zeroed: (mode === 'falloc' || mode === 'full') && !extended, zero: options.zero === true },
    signal,
  )
  await state.exclusively(async () => {
    await state.commitMetadata()
    await state.store.flushFile()
    await state.header.setSize(size)
    state.size = size
  })
}

/**
 * What the grown part would show must be zeroes: the rest of the last cluster may hold data from before a shrink,
 * and a backing file that is larger than the old disk would show. Then the whole grown part is zeroed, even
 * where the backing file has ended already. Where that was allocated in full it is zeroes already.
 */
async function hideOldContent(
  state: Qcow2State,
  old: number,
  size: number,
  settings: { readonly zeroed: boolean; readonly zero: boolean },
  signal: AbortSignal | undefined,
): Promise<void> {
  const { zeroed, zero } = settings
  const backing = state.backing()
  const whole = alignUp(old, state.geometry.clusterSize)
  state.size = size
  try {
    if (whole > old) await zeroTail(state, old, Math.min(whole, size), signal)
    const shows = !zeroed && backing !== undefined && (zero || backing.size > old)
    if (shows && size > whole) await zeroRange(state, whole, size - whole, 0, signal)
  } finally {
    state.size = old
  }
}

/** Zeroes the rest of the last cluster, as far as it shows anything. */
async function zeroTail(state: Qcow2State, old: number, end: number, signal: AbortSignal | undefined): Promise<void> {
  const run = newRun()
  await state.map.find(old, end - old, run)
  const shown = run.kind === Kind.unallocated ? Math.min(end, state.backing()?.size ?? 0) : end
  if (shown > old) await zeroPart(state, old, shown - old, 0, signal)
}

/** Makes the whole disk unallocated, and gives up all its clusters and L2 tables. Runs drained. */
export async function makeEmpty(state: Qcow2State, signal?: AbortSignal): Promise<void> {
  state.checkUsable()
  await discardRange(state, 0, state.size, { full: true, reason: 'snapshot' }, signal)
  await state.exclusively(async () => {
    await dropTables(state, 0, Math.ceil(state.size / state.geometry.l2Span))
    await state.commitMetadata()
    await cutFile(state)
  })
}
