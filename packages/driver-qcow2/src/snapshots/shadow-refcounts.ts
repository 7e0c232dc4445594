/**
 * Changes of many counts that must come into force together, and together with other tables.
 *
 * The refcount blocks that change are written to new places with the new counts, and so is a refcount table that
 * points to them; the old ones stay as they are until the header is switched over. Whatever the change takes itself
 * has been counted before, in the old blocks, from where it is copied into the new ones.
 */
import { BlockError } from '@diskgraph/core/driver'
import { hex } from '../bytes.ts'
import type { Claims } from '../refcounts/claims.ts'
import { type RefcountBlock, refcountAt, setRefcountAt } from '../refcounts/entries.ts'
import { miscounted } from '../refcounts/refcounts.ts'
import type { ReferenceCounts } from '../refcounts/reference-counts.ts'
import type { Qcow2State } from '../state.ts'
import { ClusterSet, type FileRange, Structure } from '../tables/overlap.ts'
import { RootTable } from '../tables/root-table.ts'

/** References to be added and taken away. */
export interface CountChanges {
  readonly plus: ReferenceCounts
  readonly minus: ReferenceCounts
}

/** A refcount table that waits to be put in charge. */
export interface ShadowTable {
  readonly table: RootTable
  /** Refcount blocks that are not in use once it is in charge. */
  readonly oldBlocks: readonly number[]
  /** Clusters that become free. */
  readonly freed: readonly FileRange[]
}

/** The refcount blocks that a change concerns, in order. EIO when one lies behind the refcount table. */
function changedBlocks(state: Qcow2State, { plus, minus }: CountChanges): number[] {
  const { refcountBlockEntries: entries } = state.geometry
  const end = Math.max(plus.end, minus.end)
  if (end > state.refcounts.reach) throw miscounted((end - 1) * state.geometry.clusterSize)
  const blocks: number[] = []
  const next = (from: number): number => Math.min(plus.nextUsed(from, end), minus.nextUsed(from, end))
  for (let at = next(0); at < end; ) {
    const index = Math.floor(at / entries)
    blocks.push(index)
    at = next(Math.min(end, (index + 1) * entries))
  }
  return blocks
}

/** Loads a refcount block that must exist, and calls `visit` with it before anything else can run. */
async function withBlock<Result>(
  state: Qcow2State,
  index: number,
  visit: (block: RefcountBlock) => Result,
): Promise<Result> {
  const { refcounts, store } = state
  for (;;) {
    const offset = refcounts.blockOffset(index)
    if (offset === 0) throw miscounted(index * state.geometry.refcountBlockEntries * state.geometry.clusterSize)
    const block = store.blocks.peek(offset)
    if (block !== undefined) return visit(block)
    await refcounts.loadBlock(index)
  }
}

/** The clusters that are left with one reference when those in `minus` are gone; `count` says how many. */
export async function findSingles(
  state: Qcow2State,
  minus: ReferenceCounts,
): Promise<{ readonly clusters: ClusterSet; readonly count: number }> {
  const { refcountBlockEntries: entries, refcountOrder } = state.geometry
  const clusters = new ClusterSet()
  let count = 0
  for (const index of changedBlocks(state, { plus: minus, minus })) {
    await withBlock(state, index, (block) => {
      const base = index * entries
      const end = Math.min(base + entries, minus.end)
      for (let at = minus.nextUsed(base, end); at < end; at = minus.nextUsed(at + 1, end)) {
        if (refcountAt(block, refcountOrder, at - base) - minus.get(at) !== 1) continue
        clusters.add(at)
        count++
      }
    })
  }
  return { clusters, count }
}

/**
 * Writes the blocks that `changes` concern, and a table that points to them, into clusters from `claims`. EINVAL when
 * a count would not fit into its entry, EIO when one would fall below 0. Under the mutex.
 */
export async function shadowRefcounts(state: Qcow2State, changes: CountChanges, claims: Claims): Promise<ShadowTable> {
  const { store, geometry, file, overlap, refcounts } = state
  const { clusterSize } = geometry
  const blocks = changedBlocks(state, changes)
  const places: number[] = []
  for (let i = 0; i < blocks.length; i++) places.push(await claims.allocate(1))
  let tableOffset = -1
  for (let size = -1; size !== store.refcountTable.data.byteLength; ) {
    size = store.refcountTable.data.byteLength
    tableOffset = await claims.allocate(size / clusterSize)
  }
  await store.writeRefcounts()
  const table = new RootTable(tableOffset, store.refcountTable.data.slice())
  const oldBlocks: number[] = []
  const freed: FileRange[] = []
  const buf = new Uint8Array(clusterSize)
  for (const [i, index] of blocks.entries()) {
    await withBlock(state, index, (block) => buf.set(block.data))
    applyChanges(state, index, buf, changes, freed)
    const place = places[i]!
    const refusal = overlap.check(Structure.none, place, clusterSize)
    if (refusal !== undefined) await refusal
    await file.write(place, buf)
    oldBlocks.push(refcounts.blockOffset(index))
    table.set(index, place, 0)
  }
  const refusal = overlap.check(Structure.none, tableOffset, table.data.byteLength)
  if (refusal !== undefined) await refusal
  await file.write(tableOffset, table.data)
  return { table: new RootTable(tableOffset, table.data), oldBlocks, freed }
}

function applyChanges(
  state: Qcow2State,
  index: number,
  data: Uint8Array,
  { plus, minus }: CountChanges,
  freed: FileRange[],
): void {
  const { refcountBlockEntries: entries, refcountOrder, maxRefcount, clusterSize } = state.geometry
  const block = { data, view: new DataView(data.buffer, data.byteOffset, data.byteLength) }
  const base = index * entries
  const end = Math.min(base + entries, Math.max(plus.end, minus.end))
  for (let at = base; at < end; at++) {
    const more = plus.get(at)
    const less = minus.get(at)
    if (more === less) continue
    const old = refcountAt(block, refcountOrder, at - base)
    const count = old + more - less
    const offset = at * clusterSize
    if (old === 0 || count < 0) throw miscounted(offset)
    if (count > maxRefcount) {
      throw new BlockError('EINVAL', `the refcount of the cluster at ${hex(offset)} would exceed ${maxRefcount}`)
    }
    setRefcountAt(block, refcountOrder, at - base, count)
    if (count === 0) addFreed(freed, offset, clusterSize)
  }
}

function addFreed(freed: FileRange[], offset: number, length: number): void {
  const last = freed.at(-1)
  if (last !== undefined && last.offset + last.length === offset) {
    freed[freed.length - 1] = { offset: last.offset, length: last.length + length }
  } else freed.push({ offset, length })
}
