/**
 * Whole mappings, an L1 table with its L2 tables: what they refer to, and copies of them.
 *
 * A copy shares what the original maps. Copied flags hold for the active mapping only, so a copy of a table in which
 * an entry has the flag must be a table of its own, without flags; a table without flags is shared itself.
 */
import { BlockError, isAligned } from '@diskgraph/core/driver'
import { hex } from '../bytes.ts'
import { addEntryReferences, clearCopiedFlags, reportEntry } from '../check/entry-references.ts'
import { entrySize, hiCompressed, hiCopied, offsetOf } from '../header/layout.ts'
import type { Claims } from '../refcounts/claims.ts'
import { miscounted } from '../refcounts/refcounts.ts'
import type { ReferenceCounts } from '../refcounts/reference-counts.ts'
import type { Qcow2State } from '../state.ts'
import { Structure } from '../tables/overlap.ts'
import { RootTable } from '../tables/root-table.ts'
import { forEachTable } from '../tables/stream.ts'

/** The L2 tables of an L1 table. */
interface Tables {
  /** L1 indices. */
  readonly indices: readonly number[]
  readonly offsets: readonly number[]
}

/** Lists the L2 tables among the first `entries` entries; rejects where one is misplaced. */
export async function listTables(state: Qcow2State, l1: RootTable, entries = l1.entries): Promise<Tables> {
  const indices: number[] = []
  const offsets: number[] = []
  for (let index = 0; index < Math.min(entries, l1.entries); index++) {
    const offset = l1.offsetAt(index)
    if (offset === 0) continue
    if (!Number.isSafeInteger(offset)) {
      throw new BlockError('EFBIG', `L2 table ${index} lies beyond the largest possible offset`)
    }
    if (!isAligned(offset, state.geometry.clusterSize)) {
      await state.corruption.report(`L2 table offset ${hex(offset)} unaligned (L1 index: ${hex(index)})`)
    }
    if (offset / state.geometry.clusterSize >= state.refcounts.reach) throw miscounted(offset)
    indices.push(index)
    offsets.push(offset)
  }
  return { indices, offsets }
}

/** Adds all clusters that an L1 table, itself included, refers to, to `counts`. */
export async function addTree(state: Qcow2State, l1: RootTable, counts: ReferenceCounts): Promise<void> {
  const { file, geometry } = state
  const { clusterSize } = geometry
  addRange(counts, clusterSize, l1.offset, l1.data.byteLength)
  const { offsets } = await listTables(state, l1)
  await forEachTable({ file, offsets, tableSize: clusterSize }, (index, view, at) => {
    counts.increment(offsets[index]! / clusterSize)
    const { damaged } = addEntryReferences(state, view, at, counts)
    return damaged < 0 ? undefined : reportEntry(state, view, at, offsets[index]!, damaged)
  })
}

/** Adds the clusters that a range of the file touches. */
export function addRange(counts: ReferenceCounts, clusterSize: number, offset: number, length: number): void {
  if (length <= 0) return
  const first = Math.floor(offset / clusterSize)
  counts.incrementRun(first, Math.floor((offset + length - 1) / clusterSize) - first + 1)
}

/**
 * Makes the bytes of an L1 table that maps what the first `entries` entries of `source` map, and adds the references
 * that this makes to `plus`. L2 tables that cannot be shared are copied into clusters from `claims`.
 */
export async function copyTree(
  state: Qcow2State,
  source: RootTable,
  entries: number,
  plus: ReferenceCounts,
  claims: Claims,
): Promise<Uint8Array> {
  const { file, geometry } = state
  const { clusterSize } = geometry
  const { indices, offsets } = await listTables(state, source, entries)
  const copy = new RootTable(0, new Uint8Array(source.data.byteLength))
  await forEachTable({ file, offsets, tableSize: clusterSize }, async (index, view, at) => {
    const { copied, damaged } = addEntryReferences(state, view, at, plus)
    if (damaged >= 0) await reportEntry(state, view, at, offsets[index]!, damaged)
    if (!copied) {
      plus.increment(offsets[index]! / clusterSize)
      return copy.set(indices[index]!, offsets[index]!, 0)
    }
    clearCopiedFlags(view, at, clusterSize)
    const own = await writeTable(state, claims, new Uint8Array(view.buffer, view.byteOffset + at, clusterSize))
    copy.set(indices[index]!, own, hiCopied)
  })
  return copy.data
}

/** Writes a table of any kind into clusters from `claims`, and returns where. */
export async function writeTable(state: Qcow2State, claims: Claims, data: Uint8Array): Promise<number> {
  const offset = await claims.allocate(Math.ceil(data.byteLength / state.geometry.clusterSize))
  const refusal = state.overlap.check(Structure.none, offset, data.byteLength)
  if (refusal !== undefined) await refusal
  await state.file.write(offset, data)
  return offset
}

/** Whether a cluster is among some. */
export interface Membership {
  has(cluster: number): boolean
}

/**
 * Sets the copied flags of the active mapping for clusters in `single`, whose count is about to become 1. Tables that
 * change are written anew, into clusters from `claims`; the old ones are added to `minus`. Undefined when nothing
 * changes, else the bytes of the new L1 table.
 */
export async function setCopiedFlags(
  state: Qcow2State,
  single: Membership,
  minus: ReferenceCounts,
  claims: Claims,
): Promise<Uint8Array | undefined> {
  const { file, geometry, store } = state
  const { clusterSize } = geometry
  const { indices, offsets } = await listTables(state, store.l1)
  const data = store.l1.data.slice()
  const l1 = new RootTable(store.l1.offset, data)
  let changed = false
  await forEachTable({ file, offsets, tableSize: clusterSize }, async (index, view, at) => {
    const offset = offsets[index]!
    const l1Index = indices[index]!
    if (markSingles(view, at, clusterSize, single)) {
      const own = await writeTable(state, claims, new Uint8Array(view.buffer, view.byteOffset + at, clusterSize))
      minus.increment(offset / clusterSize)
      l1.set(l1Index, own, hiCopied)
    } else if (single.has(offset / clusterSize)) {
      l1.set(l1Index, offset, hiCopied)
    } else return
    changed = true
  })
  return changed ? data : undefined
}

function markSingles(view: DataView, at: number, clusterSize: number, single: Membership): boolean {
  let changed = false
  for (let position = at; position < at + clusterSize; position += entrySize) {
    const hi = view.getUint32(position)
    if ((hi & (hiCompressed | hiCopied)) !== 0) continue
    const lo = view.getUint32(position + 4)
    const offset = offsetOf(hi, lo)
    if (offset === 0 || !single.has(Math.floor(offset / clusterSize))) continue
    view.setUint32(position, (hi | hiCopied) >>> 0)
    changed = true
  }
  return changed
}
