/** L2 tables that may be changed: made where there is none, copied where a snapshot shares them. Under the mutex. */
import { BlockError, isAligned } from '@diskgraph/core/driver'
import { hex } from '../bytes.ts'
import { compressedDescriptor, entrySize, hiCopied, hiTooFar, offsetOf } from '../header/layout.ts'
import type { FreeReason } from '../refcounts/frees.ts'
import type { Qcow2State } from '../state.ts'
import { guardRoots, isFar } from './distance.ts'
import { Kind, kindOf } from './map.ts'
import { Structure } from './overlap.ts'

/** Makes sure that the L2 table of `l1Index` exists and belongs to the active disk alone. */
export async function ensureTable(state: Qcow2State, l1Index: number): Promise<void> {
  const { l1 } = state.store
  if (l1Index >= l1.entries) {
    throw new BlockError('EIO', `the L1 table has ${l1.entries} entries, ${l1Index + 1} are needed`)
  }
  const table = l1.offsetAt(l1Index)
  await guardTable(state, l1Index, table)
  if ((l1.high(l1Index) & hiCopied) !== 0 && table !== 0) return
  await replaceTable(state, l1Index, table)
}

/** Rejects, and marks the image, when a table that is about to be changed stands far behind the end of the file. */
async function guardTable(state: Qcow2State, l1Index: number, table: number): Promise<void> {
  const { file, geometry } = state
  const refusal = guardRoots(state)
  if (refusal !== undefined) await refusal
  if (isFar(file, table + geometry.clusterSize)) {
    const place = `(L1 index: ${hex(l1Index)})`
    await state.corruption.report(`L2 table offset ${hex(table)} far behind the end of the file ${place}`)
  }
}

async function replaceTable(state: Qcow2State, l1Index: number, old: number): Promise<void> {
  const { allocator, file, geometry, store, overlap, refcounts } = state
  const { clusterSize } = geometry
  if (old !== 0 && Math.floor(old / clusterSize) * clusterSize !== old) {
    await state.corruption.report(`L2 table offset ${hex(old)} unaligned (L1 index: ${hex(l1Index)})`)
  }
  await store.provideL1Room(l1Index)
  let table = allocator.tryAllocate(1)
  if (table < 0) table = await allocator.allocate(1, 'L2 table')
  const refusal = overlap.check(Structure.none, table, clusterSize)
  if (refusal !== undefined) await refusal
  try {
    const held = file.debugEvent(old === 0 ? 'l2_alloc.write' : 'l2_alloc.cow_read')
    if (held !== undefined) await held
    const data = new Uint8Array(clusterSize)
    if (old !== 0) for (let at = 0; at < clusterSize; at += store.l2.sliceSize) await copySlice(state, old, data, at)
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
  if (old !== 0) state.frees.add(old, clusterSize, 'other')
}

/** Copies one slice of the table at `old` to its place in `data`. */
async function copySlice(state: Qcow2State, old: number, data: Uint8Array, at: number): Promise<void> {
  const { l2 } = state.store
  let source = l2.peek(old + at)
  while (source === undefined) {
    await l2.load(old + at)
    source = l2.peek(old + at)
  }
  data.set(source.data, at)
}

/** Index of the L1 entry for a guest offset. */
export function l1IndexOf(state: Qcow2State, offset: number): number {
  return Math.floor(offset / state.geometry.l2Span)
}

/** The guest offset, from `offset` on, at which the next L2 table begins; infinite where there is none. */
export function nextTable(state: Qcow2State, offset: number): number {
  const { l1 } = state.store
  const { l2Span } = state.geometry
  let index = l1IndexOf(state, offset)
  while (index < l1.entries && l1.offsetAt(index) === 0) index++
  return index < l1.entries ? Math.max(offset, index * l2Span) : Number.POSITIVE_INFINITY
}

/** Entries that one slice of an L2 table holds. */
export function entriesPerSlice(state: Qcow2State): number {
  return state.store.l2.sliceSize / entrySize
}

/** Frees what an L2 entry pointed to, after the entry has been or is being replaced. */
export function freeEntry(state: Qcow2State, hi: number, lo: number, reason: FreeReason): void {
  const kind = kindOf(hi, lo)
  if (kind === Kind.compressed) {
    const { offset, length } = compressedDescriptor(state.geometry, hi, lo)
    if (Number.isSafeInteger(offset + length)) state.frees.add(offset, length, reason)
  } else if (kind === Kind.normal || kind === Kind.zeroAllocated) {
    const { clusterSize } = state.geometry
    const offset = offsetOf(hi, lo)
    if ((hi & hiTooFar) !== 0 || !isAligned(offset, clusterSize)) {
      state.corruption.note(`Cannot free unaligned cluster ${hex(offset)}`)
    } else state.frees.add(offset, clusterSize, reason)
  }
}
