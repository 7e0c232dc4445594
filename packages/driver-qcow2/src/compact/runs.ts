/**
 * Moving the tables that stand in several clusters, each to the first gap that is long enough: L1 tables of snapshots
 * and tables of bitmaps, to which the snapshot table and the bitmap directory point; then these two, the active L1 table and the
 * refcount table, to which the header does.
 */
import { alignUp } from '@diskgraph/core/driver'
import { viewOf } from '../bytes.ts'
import { findExtension, withExtension } from '../header/extensions.ts'
import {
  BitmapDirectoryField,
  BitmapsField,
  bitmapDirectoryEntrySize,
  ExtensionType,
  entrySize,
  SnapshotField,
  snapshotEntrySize,
} from '../header/layout.ts'
import { loadSnapshotTable } from '../snapshots/snapshots.ts'
import type { Qcow2State } from '../state.ts'
import { serializeExtension } from '../tables/bitmap-directory.ts'
import type { FileRange } from '../tables/overlap.ts'
import { RootTable } from '../tables/root-table.ts'
import { Batch } from './batch.ts'
import type { FreeSpace } from './free-space.ts'
import { Target } from './pointers.ts'

type Runner = (batch: Batch, change?: () => Promise<void>) => Promise<void>

const tablesPerBatch = 1024

/** Moves what reaches behind the limit of `space`. Returns how many clusters there was no gap for. */
export async function moveRuns(state: Qcow2State, space: FreeSpace, run: Runner): Promise<number> {
  const moves = new Moves(state, space, run)
  await moves.snapshotTables()
  await moves.bitmapTables()
  await moves.roots()
  return moves.stuck
}

/** A table, and the word that points to it. */
interface Pointed extends FileRange {
  readonly position: number
}

class Moves {
  readonly #state: Qcow2State
  readonly #space: FreeSpace
  readonly #run: Runner
  stuck = 0

  constructor(state: Qcow2State, space: FreeSpace, run: Runner) {
    this.#state = state
    this.#space = space
    this.#run = run
  }

  async snapshotTables(): Promise<void> {
    const { snapshots, overlap, file } = this.#state
    if (snapshots.length === 0) return
    const { offset, length } = overlap.snapshotTable
    const view = await read(file, offset, length)
    const tables: Pointed[] = []
    let at = 0
    for (const { l1Offset, l1Entries } of snapshots) {
      tables.push({ position: offset + at, offset: l1Offset, length: l1Entries * entrySize })
      const names = view.getUint16(at + SnapshotField.idSize) + view.getUint16(at + SnapshotField.nameSize)
      at += alignUp(snapshotEntrySize + view.getUint32(at + SnapshotField.extraDataSize) + names, 8)
    }
    const places = await this.#moveTables(tables)
    if (places.size > 0) await loadSnapshotTable(this.#state)
  }

  async bitmapTables(): Promise<void> {
    const { overlap, file } = this.#state
    const { offset, length } = overlap.bitmapDirectory
    if (length === 0) return
    const view = await read(file, offset, length)
    const tables: Pointed[] = []
    for (let at = 0; at < length; ) {
      const tableOffset = Number(view.getBigUint64(at + BitmapDirectoryField.tableOffset))
      const entries = view.getUint32(at + BitmapDirectoryField.tableSize)
      tables.push({ position: offset + at, offset: tableOffset, length: entries * entrySize })
      const extra = view.getUint32(at + BitmapDirectoryField.extraDataSize)
      at += alignUp(bitmapDirectoryEntrySize + extra + view.getUint16(at + BitmapDirectoryField.nameSize), 8)
    }
    const places = await this.#moveTables(tables)
    this.#state.bitmaps = this.#state.bitmaps.map((one) => ({
      ...one,
      tableOffset: places.get(one.tableOffset) ?? one.tableOffset,
    }))
  }

  /** Moves tables to which words of the file point; where those stand now that have moved. */
  async #moveTables(tables: readonly Pointed[]): Promise<ReadonlyMap<number, number>> {
    const places = new Map<number, number>()
    for (let first = 0; first < tables.length; first += tablesPerBatch) {
      const batch = new Batch(this.#state)
      const moved = new Map<number, number>()
      for (const table of tables.slice(first, first + tablesPerBatch)) {
        const to = await this.#plan(batch, table)
        if (to < 0) continue
        batch.point(table.position, to, Target.table)
        moved.set(table.offset, to)
      }
      if (batch.empty) continue
      await this.#run(batch)
      for (const [from, to] of moved) places.set(from, to)
    }
    return places
  }

  /** Moves the tables to which the header points. */
  async roots(): Promise<void> {
    const { header, store, overlap, geometry } = this.#state
    await this.#moveRoot(overlap.snapshotTable, async (to) => {
      await header.setSnapshotTable(to, header.value.nbSnapshots)
      overlap.snapshotTable = { ...overlap.snapshotTable, offset: to }
    })
    await this.#moveRoot(overlap.bitmapDirectory, async (to) => {
      const range = { ...overlap.bitmapDirectory, offset: to }
      const { extensions } = header.value
      const count = viewOf(findExtension(extensions, ExtensionType.bitmaps)!.data).getUint32(BitmapsField.count)
      const data = serializeExtension(count, range)
      await header.update({ extensions: withExtension(extensions, ExtensionType.bitmaps, data) })
      overlap.bitmapDirectory = range
    })
    const { l1, refcountTable } = store
    await this.#moveRoot({ offset: l1.offset, length: l1.data.byteLength }, async (to) => {
      await header.setL1(to, l1.entries)
      store.replaceL1(new RootTable(to, l1.data))
    })
    await this.#moveRoot({ offset: refcountTable.offset, length: refcountTable.data.byteLength }, async (to) => {
      await header.setRefcountTable(to, refcountTable.data.byteLength / geometry.clusterSize)
      store.replaceRefcountTable(new RootTable(to, refcountTable.data))
    })
  }

  async #moveRoot(range: FileRange, change: (to: number) => Promise<void>): Promise<void> {
    const batch = new Batch(this.#state)
    const to = await this.#plan(batch, range)
    if (to >= 0) await this.#run(batch, () => change(to))
  }

  /** Finds a gap for a table that reaches behind the limit; its offset, or -1. */
  async #plan(batch: Batch, { offset, length }: FileRange): Promise<number> {
    const { clusterSize } = this.#state.geometry
    const start = offset / clusterSize
    const clusters = Math.ceil(length / clusterSize)
    if (clusters === 0 || start + clusters <= this.#space.limit) return -1
    const found = await this.#space.take(batch, clusters, 1, start)
    if (found < 0) {
      this.stuck += clusters
      return -1
    }
    batch.copy(offset, found * clusterSize, clusters * clusterSize, Target.table)
    batch.leaves(start, clusters, 1)
    return found * clusterSize
  }
}

async function read(file: Qcow2State['file'], offset: number, length: number): Promise<DataView> {
  const bytes = new Uint8Array(length)
  await file.read(offset, bytes)
  return viewOf(bytes)
}
