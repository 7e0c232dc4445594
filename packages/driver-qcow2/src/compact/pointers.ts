/**
 * What points to a range of clusters: the words of the file that hold their offsets, of all kinds of tables.
 *
 *     leaves   data, compressed data and bits of bitmaps    words in L2 tables and in tables of bitmaps
 *     tables   L2 tables and refcount blocks                words in L1 tables and in the refcount table
 *
 * A table that several L1 entries share is looked at once: its words are there once.
 */
import { Yielder } from '@diskgraph/clusters'
import { isAligned } from '@diskgraph/core/driver'
import { compressedDescriptor, entrySize, hiCompressed, maxL1TableSize, offsetOf } from '../header/layout.ts'
import type { Qcow2State } from '../state.ts'
import { ClusterSet } from '../tables/overlap.ts'
import { type RootTable, readTable } from '../tables/root-table.ts'
import { forEachTable } from '../tables/stream.ts'

/** What a pointer leads to. */
export const Target = { table: 0, data: 1, compressed: 2 } as const

/** A range of the file, in bytes. */
export interface Window {
  readonly start: number
  readonly end: number
}

/** Pointers, as columns. */
export class Pointers {
  /** Where the words stand in the file. */
  readonly positions: number[] = []
  /** Where they lead to, in bytes. */
  readonly targets: number[] = []
  /** Bytes that they lead to. */
  readonly lengths: number[] = []
  readonly kinds: number[] = []
  /** How many references of compressed data a word stands for. */
  readonly weights: number[] = []

  add(position: number, target: number, length: number, kind: number, weight = 0): void {
    this.positions.push(position)
    this.targets.push(target)
    this.lengths.push(length)
    this.kinds.push(kind)
    this.weights.push(weight)
  }

  /** Their numbers, by what they lead to. */
  inOrder(): Uint32Array {
    const { targets, lengths } = this
    const order = new Uint32Array(targets.length)
    for (let i = 0; i < order.length; i++) order[i] = i
    return order.sort((a, b) => targets[a]! - targets[b]! || lengths[a]! - lengths[b]!)
  }

  /** Whether two of them lead to the same. */
  areSame(one: number, other: number): boolean {
    return this.targets[one] === this.targets[other] && this.lengths[one] === this.lengths[other]
  }
}

/** Pointers to what stands in `window`, or reaches into it, and has no pointers itself. */
export async function findLeaves(state: Qcow2State, window: Window, signal?: AbortSignal): Promise<Pointers> {
  const { geometry, file, refcounts } = state
  const { clusterSize } = geometry
  const pointers = new Pointers()
  const seen = new ClusterSet()
  for await (const l1 of l1Tables(state)) {
    const offsets: number[] = []
    for (let index = 0; index < l1.entries; index++) {
      const offset = l1.offsetAt(index)
      if (offset === 0 || seen.has(offset / clusterSize)) continue
      seen.add(offset / clusterSize)
      offsets.push(offset)
    }
    if (geometry.external) continue
    await forEachTable({ file, offsets, tableSize: clusterSize, signal }, (index, view, at) => {
      const table = offsets[index]!
      const weight = refcounts.peek(table / clusterSize)
      if (weight >= 0) return addEntries(state, view, at, { table, weight, window, pointers })
      return refcounts
        .get(table / clusterSize)
        .then((known) => addEntries(state, view, at, { table, weight: known, window, pointers }))
    })
  }
  for (const { tableOffset, tableEntries } of state.bitmaps) {
    if (tableOffset === 0) continue
    const table = await readTable(file, tableOffset, tableEntries)
    await addWords(table, tableOffset, clusterSize, window, pointers, signal)
  }
  return pointers
}

/** Pointers to L2 tables and refcount blocks in `window`. */
export async function findTables(state: Qcow2State, window: Window, signal?: AbortSignal): Promise<Pointers> {
  const { clusterSize } = state.geometry
  const pointers = new Pointers()
  for await (const l1 of l1Tables(state)) await addWords(l1, l1.offset, clusterSize, window, pointers, signal)
  const { refcountTable } = state.store
  await addWords(refcountTable, refcountTable.offset, clusterSize, window, pointers, signal)
  return pointers
}

/** The active L1 table, and those of snapshots. */
async function* l1Tables({ store, snapshots, file }: Qcow2State): AsyncGenerator<RootTable> {
  yield store.l1
  for (const { l1Offset, l1Entries } of snapshots) {
    if (l1Entries * entrySize <= maxL1TableSize) yield await readTable(file, l1Offset, l1Entries)
  }
}

interface EntryScan {
  readonly table: number
  readonly weight: number
  readonly window: Window
  readonly pointers: Pointers
}

function addEntries({ geometry }: Qcow2State, view: DataView, at: number, scan: EntryScan): undefined {
  const { clusterSize, l2EntrySize } = geometry
  const { table, weight, window, pointers } = scan
  for (let i = 0; i < clusterSize; i += l2EntrySize) {
    const hi = view.getUint32(at + i)
    const lo = view.getUint32(at + i + 4)
    if (hi === 0 && lo === 0) continue
    if ((hi & hiCompressed) !== 0) {
      const { offset, length } = compressedDescriptor(geometry, hi, lo)
      if (offset + length > window.start && offset < window.end) {
        pointers.add(table + i, offset, length, Target.compressed, weight)
      }
      continue
    }
    const offset = offsetOf(hi, lo)
    if (isIn(window, offset)) pointers.add(table + i, offset, clusterSize, Target.data)
  }
  return undefined
}

async function addWords(
  table: RootTable,
  position: number,
  clusterSize: number,
  window: Window,
  pointers: Pointers,
  signal: AbortSignal | undefined,
): Promise<void> {
  const yielder = new Yielder(signal)
  for (let index = 0; index < table.entries; index++) {
    const turn = yielder.step()
    if (turn !== undefined) await turn
    const offset = table.offsetAt(index)
    if (isIn(window, offset) && isAligned(offset, clusterSize)) {
      pointers.add(position + index * entrySize, offset, clusterSize, Target.table)
    }
  }
}

function isIn(window: Window, offset: number): boolean {
  return offset !== 0 && offset >= window.start && offset < window.end
}
