/**
 * Internal snapshots: creating, applying, deleting and showing them.
 *
 *     create   the active tables become the snapshot's; the disk goes on with copies (tree.ts)
 *     apply    the disk goes on with copies of the snapshot's tables; what it mapped loses a reference
 *     delete   what the snapshot's tables map loses a reference; what only the disk uses then, is marked as copied
 *
 * Each of them changes the L1 table, counts and the snapshot table. All three are written anew, elsewhere, and put in
 * charge by a single write of the header: a crash leaves the image as it was or as it is to be, with
 * leaked clusters at worst. Counts and copied flags thus never contradict each other on disk.
 *
 * The operations run drained, under the mutex.
 */
import {
  alignDown,
  BlockError,
  isAligned,
  type NewSnapshot,
  type SnapshotInfo,
  type Snapshots,
} from '@diskgraph/core/driver'
import type { Header } from '../header/header.ts'
import { entrySize, maxL1TableSize, maxSnapshots } from '../header/layout.ts'
import { guardRoots } from '../mapping/active-tables.ts'
import { addRange, addTree, copyTree, setCopiedFlags, writeTable } from '../mapping/tree.ts'
import { Claims } from '../refcounts/claims.ts'
import { ReferenceCounts } from '../refcounts/reference-counts.ts'
import type { Qcow2State } from '../state.ts'
import { type FileRange, Structure } from '../tables/overlap.ts'
import { RootTable, readTable } from '../tables/root-table.ts'
import {
  checkSnapshotL1,
  describeSnapshot,
  isSnapshotL1,
  makeRecord,
  readSnapshotTable,
  type SnapshotRecord,
  serializeSnapshotTable,
} from '../tables/snapshot-table.ts'
import { type CountChanges, findSingles, type ShadowTable, shadowRefcounts } from './shadow-refcounts.ts'

/** The internal snapshots of an image, for the core. */
export class Qcow2Snapshots implements Snapshots {
  private readonly state: Qcow2State
  /** What has to be done before the image is first written. */
  private readonly prepare: () => Promise<void>

  constructor(state: Qcow2State, prepare: () => Promise<void>) {
    this.state = state
    this.prepare = prepare
  }

  list(): readonly SnapshotInfo[] {
    return this.state.snapshots.map((record) => describeSnapshot(record, this.state.size))
  }

  async create(snapshot: NewSnapshot): Promise<SnapshotInfo> {
    await this.prepare()
    return change(this.state, () => createSnapshot(this.state, snapshot))
  }

  async apply(idOrName: string): Promise<void> {
    await this.prepare()
    return change(this.state, () => applySnapshot(this.state, idOrName))
  }

  async delete(idOrName: string): Promise<void> {
    await this.prepare()
    return change(this.state, () => deleteSnapshot(this.state, idOrName))
  }

  load(idOrName: string): Promise<void> {
    return this.state.exclusively(() => loadSnapshot(this.state, idOrName))
  }
}

function change<Result>(state: Qcow2State, work: () => Promise<Result>): Promise<Result> {
  state.checkUsable()
  if (state.geometry.external) {
    throw new BlockError('ENOTSUP', 'an image with an external data file has no internal snapshots')
  }
  if (state.readOnly) throw new BlockError('EROFS', 'the image is read-only: its snapshots cannot be changed')
  return state.exclusively(async () => {
    const refusal = guardRoots(state)
    if (refusal !== undefined) await refusal
    await state.makeClean()
    return work()
  })
}

async function createSnapshot(state: Qcow2State, wanted: NewSnapshot): Promise<SnapshotInfo> {
  const { snapshots, store, geometry } = state
  if (snapshots.length >= maxSnapshots) throw new BlockError('EFBIG', 'the image has as many snapshots as it can have')
  const id = wanted.id ?? nextId(snapshots)
  if (snapshots.some((snapshot) => snapshot.id === id)) {
    throw new BlockError('EEXIST', `a snapshot with the id '${id}' exists already`)
  }
  const now = state.host.clock.wallTime()
  const info = {
    id,
    name: wanted.name,
    vmStateSize: wanted.vmStateSize ?? 0,
    dateSeconds: wanted.dateSeconds ?? Math.floor(now / 1000),
    dateNanoseconds: wanted.dateNanoseconds ?? (wanted.dateSeconds === undefined ? (now % 1000) * 1_000_000 : 0),
    vmClockNanoseconds: wanted.vmClockNanoseconds ?? 0,
    ...(wanted.icount === undefined ? {} : { icount: wanted.icount }),
    diskSize: state.size,
  }
  const old = store.l1
  const record = makeRecord({ info, l1Offset: old.entries === 0 ? 0 : old.offset, l1Entries: old.entries })
  // VM state belongs to the snapshot alone.
  const kept = info.vmStateSize > 0 ? Math.ceil(state.size / geometry.l2Span) : old.entries
  await replaceTables(state, async (changes, claims) => {
    const l1 = old.entries === 0 ? undefined : await copyTree(state, old, kept, changes.plus, claims)
    return { l1, snapshots: [...snapshots, record] }
  })
  return describeSnapshot(record, state.size)
}

/** One more than the largest number among the ids. */
function nextId(snapshots: readonly SnapshotRecord[]): string {
  let highest = 0
  for (const { id } of snapshots) {
    const number = /^\d+/.exec(id)
    if (number !== null) highest = Math.max(highest, Number(number[0]))
  }
  return String(Math.min(highest, Number.MAX_SAFE_INTEGER - 1) + 1)
}

/** Finds a snapshot by its id or else by its name. ENOENT with `missing`. */
function find(state: Qcow2State, idOrName: string, missing: string): SnapshotRecord {
  const { snapshots } = state
  const found =
    snapshots.find((snapshot) => snapshot.id === idOrName) ?? snapshots.find((snapshot) => snapshot.name === idOrName)
  if (found === undefined) throw new BlockError('ENOENT', missing)
  checkSnapshotL1(found, state.geometry.clusterSize)
  return found
}

function noSuch(idOrName: string): string {
  return `the image has no snapshot '${idOrName}'`
}

/** The size of the disk when a snapshot was taken. */
function diskSizeOf(state: Qcow2State, snapshot: SnapshotRecord): number {
  const size = alignDown(snapshot.diskSize ?? state.size, 512)
  if (!Number.isSafeInteger(size) || Math.ceil(size / state.geometry.l2Span) > maxL1TableSize / entrySize) {
    throw new BlockError('EFBIG', `the disk size of snapshot '${snapshot.id}' is too large`)
  }
  return size
}

async function applySnapshot(state: Qcow2State, idOrName: string): Promise<void> {
  const { store, geometry } = state
  const snapshot = find(state, idOrName, noSuch(idOrName))
  const size = diskSizeOf(state, snapshot)
  if (size !== state.size && state.header.value.version < 3) {
    throw new BlockError('ENOTSUP', "Can't resize a v2 image which has snapshots")
  }
  const source = await readTable(state.file, snapshot.l1Offset, snapshot.l1Entries)
  const entries = Math.max(source.entries, Math.ceil(size / geometry.l2Span))
  await replaceTables(state, async (changes, claims) => {
    const l1 = new Uint8Array(entries * entrySize)
    l1.set(await copyTree(state, source, source.entries, changes.plus, claims))
    await addTree(state, store.l1, changes.minus)
    return { l1, size }
  })
}

async function deleteSnapshot(state: Qcow2State, idOrName: string): Promise<void> {
  const { store, geometry, snapshots } = state
  const snapshot = find(state, idOrName, noSuch(idOrName))
  const table = await readTable(state.file, snapshot.l1Offset, snapshot.l1Entries)
  await replaceTables(state, async ({ minus }, claims) => {
    await addTree(state, table, minus)
    const singles = await findSingles(state, minus)
    const l1 = singles.count === 0 ? undefined : await setCopiedFlags(state, singles.clusters, minus, claims)
    if (l1 !== undefined) addRange(minus, geometry.clusterSize, store.l1.offset, store.l1.data.byteLength)
    return { l1, snapshots: snapshots.filter((other) => other !== snapshot) }
  })
}

/** What is to be in charge; what is left out stays. */
interface Replacement {
  /** The active L1 table. */
  readonly l1?: Uint8Array | undefined
  readonly snapshots?: readonly SnapshotRecord[]
  /** The size of the disk. */
  readonly size?: number
}

/** Puts in charge what `prepare` makes, with the changes of counts that it notes, or leaves everything as it was. */
async function replaceTables(
  state: Qcow2State,
  prepare: (changes: CountChanges, claims: Claims) => Promise<Replacement>,
): Promise<void> {
  const claims = new Claims(state)
  let adopt: () => Promise<void>
  try {
    adopt = await switchTables(state, prepare, claims)
  } catch (error) {
    await claims.giveBack()
    throw error
  }
  await adopt()
}

/** Makes new tables and puts them in charge on disk; returns what is to be done in memory then. */
async function switchTables(
  state: Qcow2State,
  prepare: (changes: CountChanges, claims: Claims) => Promise<Replacement>,
  claims: Claims,
): Promise<() => Promise<void>> {
  const { clusterSize } = state.geometry
  const unlimited = Number.MAX_SAFE_INTEGER
  const changes = { plus: new ReferenceCounts(unlimited), minus: new ReferenceCounts(unlimited) }
  const { l1, snapshots, size } = await prepare(changes, claims)
  const fields: { -readonly [Field in keyof Header]?: Header[Field] } = size === undefined ? {} : { size }
  let { offset } = state.store.l1
  if (l1 !== undefined) {
    offset = await writeTable(state, claims, l1)
    Object.assign(fields, { l1TableOffset: offset, l1Size: l1.byteLength / entrySize })
  }
  let table = state.overlap.snapshotTable
  if (snapshots !== undefined) {
    addRange(changes.minus, clusterSize, table.offset, table.length)
    table = await claimTable(state, snapshots, (clusters) => claims.allocate(clusters))
    Object.assign(fields, { snapshotsOffset: table.offset, nbSnapshots: snapshots.length })
  }
  const shadow = await shadowRefcounts(state, changes, claims)
  fields.refcountTableOffset = shadow.table.offset
  fields.refcountTableClusters = shadow.table.data.byteLength / clusterSize
  await state.store.switchTables(fields)
  return () => {
    if (size !== undefined) state.size = size
    if (l1 !== undefined) state.store.replaceL1(new RootTable(offset, l1))
    if (snapshots !== undefined) setSnapshots(state, snapshots, table)
    return adoptRefcounts(state, shadow)
  }
}

/** The new counts are in charge: nothing of the old ones may stay in memory, and what they took becomes free. */
async function adoptRefcounts(state: Qcow2State, { table, oldBlocks, freed }: ShadowTable): Promise<void> {
  const { store, geometry, allocator, frees } = state
  const old = store.refcountTable
  store.replaceRefcountTable(table)
  store.blocks.invalidate()
  store.l2.invalidate()
  state.compressed.clear()
  allocator.reset()
  for (const offset of oldBlocks) frees.add(offset, geometry.clusterSize, 'other')
  frees.add(old.offset, old.data.byteLength, 'other')
  if (state.options.passDiscard.snapshot) {
    for (const { offset, length } of freed) await state.file.discard(offset, length).catch(() => undefined)
  }
}

/** Shows a snapshot, with the size that the disk had, in place of the active disk of a read-only image. */
async function loadSnapshot(state: Qcow2State, idOrName: string): Promise<void> {
  if (!state.readOnly) throw new BlockError('EINVAL', 'a snapshot can only be shown through a read-only image')
  const snapshot = find(state, idOrName, "Can't find snapshot")
  const size = diskSizeOf(state, snapshot)
  const table = await readTable(state.file, snapshot.l1Offset, snapshot.l1Entries)
  state.store.replaceL1(table)
  state.store.l2.invalidate()
  state.size = size
}

/**
 * Reads the snapshot table into `state.snapshots`, and tells the overlap guard where it and the snapshots' L1 tables
 * are. EINVAL or EFBIG with the reason when it is damaged; then the state is as before.
 */
export async function loadSnapshotTable(state: Qcow2State): Promise<readonly SnapshotRecord[]> {
  const { nbSnapshots, snapshotsOffset } = state.header.value
  if (!Number.isSafeInteger(snapshotsOffset) || !isAligned(snapshotsOffset, state.geometry.clusterSize)) {
    throw new BlockError('EINVAL', 'Snapshot table offset invalid')
  }
  if (nbSnapshots === 0) {
    setSnapshots(state, [], { offset: 0, length: 0 })
    return []
  }
  const { records, length } = await readSnapshotTable(state.file, snapshotsOffset, nbSnapshots)
  setSnapshots(state, records, { offset: snapshotsOffset, length })
  return records
}

/** These are the snapshots from now on; their table stands at `range`. */
function setSnapshots(state: Qcow2State, records: readonly SnapshotRecord[], range: FileRange): void {
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
async function claimTable(
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
