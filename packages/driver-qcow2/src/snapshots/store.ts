/** The snapshots of an open image: loading their table, and putting another one in its place. */
import { BlockError, isAligned } from '@diskgraph/core/driver'
import { entrySize } from '../header/layout.ts'
import type { Qcow2State } from '../state.ts'
import { type FileRange, Structure } from '../tables/overlap.ts'
import { isSnapshotL1, readSnapshotTable, type SnapshotRecord, serializeSnapshotTable } from './table.ts'

/**
 * Reads the snapshot table into `state.snapshots`, and tells the overlap guard where it and the snapshots' L1 tables
 * are. EINVAL or EFBIG with the reason when it is damaged; then the state is as before.
 */
export async function loadSnapshotTable(state: Qcow2State): Promise<readonly SnapshotRecord[]> {
  const { nbSnapshots, snapshotsOffset } = state.header.value
  if (nbSnapshots === 0) {
    setSnapshots(state, [], { offset: 0, length: 0 })
    return []
  }
  if (!Number.isSafeInteger(snapshotsOffset) || !isAligned(snapshotsOffset, state.geometry.clusterSize)) {
    throw new BlockError('EINVAL', 'Snapshot table offset invalid')
  }
  const { records, length } = await readSnapshotTable(state.file, snapshotsOffset, nbSnapshots)
  setSnapshots(state, records, { offset: snapshotsOffset, length })
  return records
}

/** These are the snapshots from now on; their table stands at `range`. */
export function setSnapshots(state: Qcow2State, records: readonly SnapshotRecord[], range: FileRange): void {
  const { clusterSize } = state.geometry
  const { size } = state.file
  // Tables that are damaged and cannot be where they claim to be would stand in the way of everything else.
  const inFile = ({ offset, length }: FileRange): FileRange => {
    return { offset, length: Math.max(0, Math.min(length, size - offset)) }
  }
  const tables = records
    .filter((record) => record.l1Entries > 0 && isSnapshotL1(record, clusterSize))
    .map(({ l1Offset, l1Entries }) => inFile({ offset: l1Offset, length: l1Entries * entrySize }))
  state.snapshots = records
  state.overlap.snapshotTable = inFile(range)
  state.overlap.setInactiveL1(tables)
}

/**
 * Takes clusters for the table of `records` and writes it there; nothing points to it yet, and it is not flushed. An
 * empty table takes nothing and has offset 0. Under the mutex.
 */
export async function claimTable(
  state: Qcow2State,
  records: readonly SnapshotRecord[],
  allocate: (clusters: number) => Promise<number> = (clusters) => state.allocator.allocate(clusters),
): Promise<FileRange> {
  if (records.length === 0) return { offset: 0, length: 0 }
  const bytes = serializeSnapshotTable(records, state.size)
  const { clusterSize } = state.geometry
  const offset = await allocate(Math.ceil(bytes.byteLength / clusterSize))
  const refusal = state.overlap.check(Structure.none, offset, bytes.byteLength)
  if (refusal !== undefined) await refusal
  await state.file.write(offset, bytes)
  return { offset, length: bytes.byteLength }
}

/** Writes `records` into a new table, to which the header points from then on; the one at `old` becomes free. Under the mutex. */
export async function rewriteTable(
  state: Qcow2State,
  records: readonly SnapshotRecord[],
  old: FileRange,
): Promise<void> {
  const table = await claimTable(state, records)
  await state.commitMetadata()
  await state.store.flushFile()
  await state.header.setSnapshotTable(table.offset, records.length)
  await state.store.flushFile()
  setSnapshots(state, records, table)
  if (old.length > 0) state.frees.add(old.offset, old.length, 'other')
  await state.commitMetadata()
}
