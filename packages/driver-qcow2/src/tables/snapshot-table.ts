/**
 * The table of internal snapshots: reading, writing, and the limits that all implementations share.
 *
 *     entry   0 l1_table_offset   8 l1_size   12 id_size   14 name_size   16 date_sec   20 date_nsec
 *             24 vm_clock_nsec   32 vm_state_size   36 extra_data_size   40 extra data … id … name … to 8 bytes
 *     extra   40 vm_state_size   48 disk size   56 icount   64 … what later versions add
 *
 * Entries have no fixed size, so the table's length is known only when it has been read; it is read in growing pieces,
 * never past the end of the file. Extra data that nobody here knows is kept byte for byte.
 */
import { alignUp, BlockError, type ChildHandle, isAligned, isZero, type SnapshotInfo } from '@diskgraph/core/driver'
import { decodeText, encodeText, readU64, viewOf, writeU64 } from '../bytes.ts'
import {
  entrySize,
  maxL1TableSize,
  maxSnapshotExtraData,
  maxSnapshots,
  maxSnapshotTableSize,
  SnapshotField,
  snapshotEntrySize,
} from '../header/layout.ts'

/** One entry of the snapshot table. */
export interface SnapshotRecord {
  /** Not exact where it is absurd, above 2^53. */
  readonly l1Offset: number
  readonly l1Entries: number
  readonly id: string
  readonly name: string
  /** The bytes of id and name, which need not be UTF-8; written back as they are. */
  readonly idBytes: Uint8Array
  readonly nameBytes: Uint8Array
  readonly dateSeconds: number
  readonly dateNanoseconds: number
  readonly vmClockNanoseconds: bigint
  readonly vmStateSize: number
  /** Undefined where the entry does not say: the disk had the size that it has now. */
  readonly diskSize: number | undefined
  /** All bits set: unknown. */
  readonly icount: bigint
  /** Extra data behind the fields above. */
  readonly extra: Uint8Array
}

const unknownIcount = 0xffff_ffff_ffff_ffffn
const nothing = new Uint8Array(0)
const knownExtraData = SnapshotField.extraIcount + 8 - snapshotEntrySize
/** What version 3 demands at least: the large VM state size and the disk size. */
const requiredExtraData = SnapshotField.extraIcount - snapshotEntrySize

/** What is wrong with a table but can be repaired. */
export interface TableFaults {
  /** Entries with more extra data than anybody reads: index and size. It is left out. */
  readonly longExtra: { readonly index: number; readonly size: number }[]
  /** Entries without the fields that version 3 demands. */
  readonly incomplete: number[]
  /** Incomplete entries that were left out, because all that they say is zeroes: the count is too large. */
  empty: number
  /** Entries that were left out because there are too many. */
  overhanging: number
  /** Entries that were left out because the table would be too large. */
  tooBig: number
}

/** A snapshot table as it was read. */
export interface SnapshotTable {
  readonly records: SnapshotRecord[]
  /** Bytes of the table on disk. */
  readonly length: number
}

/**
 * Reads the table of `count` entries at `offset`. Without `faults` every fault is an error with QEMU's text; with it
 * faults are noted and what can be kept is returned.
 */
export async function readSnapshotTable(
  file: ChildHandle,
  offset: number,
  count: number,
  faults?: TableFaults,
): Promise<SnapshotTable> {
  const source = new TableSource(file, offset)
  const records: SnapshotRecord[] = []
  const wanted = Math.min(count, maxSnapshots)
  if (count > wanted) {
    if (faults === undefined) throw new BlockError('EFBIG', 'Snapshot table too large')
    faults.overhanging = count - wanted
  }
  let position = 0
  for (let index = 0; index < wanted; index++) {
    const next = await readEntry(source, position, index, records, faults)
    if (next > maxSnapshotTableSize) {
      const overhanging = count - index
      if (faults === undefined) throw tooBig(overhanging)
      faults.tooBig = wanted - index
      break
    }
    position = next
  }
  return { records, length: position }
}

function tooBig(overhanging: number): BlockError {
  const hint = `You can force-remove all ${overhanging} overhanging snapshots with qemu-img check -r all`
  return new BlockError('EFBIG', 'Snapshot table is too big', { hint })
}

/** Reads one entry and returns where the next one starts. */
async function readEntry(
  source: TableSource,
  position: number,
  index: number,
  records: SnapshotRecord[],
  faults: TableFaults | undefined,
): Promise<number> {
  const head = await source.read(position, snapshotEntrySize)
  if (faults !== undefined && isZero(head)) {
    faults.incomplete.push(index)
    faults.empty++
    return position + snapshotEntrySize
  }
  const fixed = viewOf(head)
  const extraSize = fixed.getUint32(SnapshotField.extraDataSize)
  if (extraSize > maxSnapshotExtraData) {
    if (faults === undefined) {
      const hint = 'You can force-remove this extra metadata with qemu-img check -r all'
      throw new BlockError('EFBIG', `Too much extra metadata in snapshot table entry ${index}`, { hint })
    }
    faults.longExtra.push({ index, size: extraSize })
  }
  if (extraSize < requiredExtraData) faults?.incomplete.push(index)
  const extra = await source.read(position + snapshotEntrySize, Math.min(extraSize, maxSnapshotExtraData))
  const idAt = position + snapshotEntrySize + extraSize
  const idSize = fixed.getUint16(SnapshotField.idSize)
  const nameSize = fixed.getUint16(SnapshotField.nameSize)
  const end = alignUp(idAt + idSize + nameSize, 8)
  if (end > maxSnapshotTableSize) return end
  const names = await source.read(idAt, idSize + nameSize)
  records.push(
    new StoredEntry(head, extraSize > maxSnapshotExtraData ? extra.subarray(0, knownExtraData) : extra, names),
  )
  return end
}

/** An entry as it was read. Its texts are made when somebody asks: there may be very many, and very long ones. */
class StoredEntry implements SnapshotRecord {
  readonly l1Offset: number
  readonly l1Entries: number
  readonly idBytes: Uint8Array
  readonly nameBytes: Uint8Array
  readonly dateSeconds: number
  readonly dateNanoseconds: number
  readonly vmClockNanoseconds: bigint
  readonly vmStateSize: number
  readonly diskSize: number | undefined
  readonly icount: bigint
  readonly extra: Uint8Array

  constructor(head: Uint8Array, extra: Uint8Array, names: Uint8Array) {
    const view = viewOf(head)
    const more = viewOf(extra)
    const known = (field: number): boolean => extra.byteLength >= field + 8 - snapshotEntrySize
    const at = (field: number): number => field - snapshotEntrySize
    const idSize = view.getUint16(SnapshotField.idSize)
    this.l1Offset = Number(view.getBigUint64(SnapshotField.l1TableOffset))
    this.l1Entries = view.getUint32(SnapshotField.l1Size)
    this.idBytes = names.subarray(0, idSize)
    this.nameBytes = names.subarray(idSize)
    this.dateSeconds = view.getUint32(SnapshotField.dateSeconds)
    this.dateNanoseconds = view.getUint32(SnapshotField.dateNanoseconds)
    this.vmClockNanoseconds = view.getBigUint64(SnapshotField.vmClockNanoseconds)
    this.vmStateSize = known(SnapshotField.extraVmStateSize)
      ? readU64(more, at(SnapshotField.extraVmStateSize))
      : view.getUint32(SnapshotField.vmStateSize)
    this.diskSize = known(SnapshotField.extraDiskSize) ? readU64(more, at(SnapshotField.extraDiskSize)) : undefined
    this.icount = known(SnapshotField.extraIcount) ? more.getBigUint64(at(SnapshotField.extraIcount)) : unknownIcount
    this.extra = extra.byteLength > knownExtraData ? extra.subarray(knownExtraData) : nothing
  }

  get id(): string {
    return textOf(this.idBytes)
  }

  get name(): string {
    return textOf(this.nameBytes)
  }
}

/** Other programs take the texts to end at a NUL. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return decodeText(end < 0 ? bytes : bytes.subarray(0, end))
}

/** Bytes that the table of these snapshots takes on disk. */
function tableBytes(records: readonly SnapshotRecord[]): number {
  let length = 0
  for (const record of records) length += entryBytes(record)
  return length
}

function entryBytes(record: SnapshotRecord): number {
  const { extra, idBytes, nameBytes } = record
  const names = idBytes.byteLength + nameBytes.byteLength
  return alignUp(snapshotEntrySize + knownExtraData + extra.byteLength + names, 8)
}

/** The bytes of the table. `diskSize` stands for the sizes that entries do not tell. EFBIG above the limits. */
export function serializeSnapshotTable(records: readonly SnapshotRecord[], diskSize: number): Uint8Array {
  const length = tableBytes(records)
  if (records.length > maxSnapshots || length > maxSnapshotTableSize) {
    throw new BlockError('EFBIG', 'the snapshot table would exceed its largest size')
  }
  const bytes = new Uint8Array(length)
  let position = 0
  for (const record of records) {
    writeEntry(bytes.subarray(position), record, diskSize)
    position += entryBytes(record)
  }
  return bytes
}

function writeEntry(bytes: Uint8Array, record: SnapshotRecord, diskSize: number): void {
  const view = viewOf(bytes)
  const { vmStateSize, extra, idBytes, nameBytes } = record
  writeU64(view, SnapshotField.l1TableOffset, record.l1Offset)
  view.setUint32(SnapshotField.l1Size, record.l1Entries)
  view.setUint16(SnapshotField.idSize, idBytes.byteLength)
  view.setUint16(SnapshotField.nameSize, nameBytes.byteLength)
  view.setUint32(SnapshotField.dateSeconds, record.dateSeconds)
  view.setUint32(SnapshotField.dateNanoseconds, record.dateNanoseconds)
  view.setBigUint64(SnapshotField.vmClockNanoseconds, record.vmClockNanoseconds)
  view.setUint32(SnapshotField.vmStateSize, vmStateSize > 0xffffffff ? 0 : vmStateSize)
  view.setUint32(SnapshotField.extraDataSize, knownExtraData + extra.byteLength)
  writeU64(view, SnapshotField.extraVmStateSize, vmStateSize)
  writeU64(view, SnapshotField.extraDiskSize, record.diskSize ?? diskSize)
  view.setBigUint64(SnapshotField.extraIcount, record.icount)
  let at = snapshotEntrySize + knownExtraData
  for (const part of [extra, idBytes, nameBytes]) {
    bytes.set(part, at)
    at += part.byteLength
  }
}

/** What is told of a snapshot; `diskSize` is that of the disk now. */
export function describeSnapshot(record: SnapshotRecord, diskSize: number): SnapshotInfo {
  const { id, name, vmStateSize, dateSeconds, dateNanoseconds, icount } = record
  return {
    id,
    name,
    vmStateSize,
    dateSeconds,
    dateNanoseconds,
    vmClockNanoseconds: Number(record.vmClockNanoseconds),
    ...(icount === unknownIcount ? {} : { icount: Number(icount) }),
    diskSize: record.diskSize ?? diskSize,
  }
}

/** A record for a new snapshot. */
export function makeRecord(fields: {
  readonly info: Omit<SnapshotInfo, 'diskSize'> & { readonly diskSize: number }
  readonly l1Offset: number
  readonly l1Entries: number
}): SnapshotRecord {
  const { info } = fields
  const idBytes = encodeText(info.id)
  const nameBytes = encodeText(info.name)
  if (idBytes.byteLength > 0xffff || nameBytes.byteLength > 0xffff) {
    throw new BlockError('EINVAL', 'the name of the snapshot is too long')
  }
  return {
    l1Offset: fields.l1Offset,
    l1Entries: fields.l1Entries,
    id: info.id,
    name: info.name,
    idBytes,
    nameBytes,
    dateSeconds: info.dateSeconds,
    dateNanoseconds: info.dateNanoseconds,
    vmClockNanoseconds: BigInt(info.vmClockNanoseconds),
    vmStateSize: info.vmStateSize,
    diskSize: info.diskSize,
    icount: info.icount === undefined ? unknownIcount : BigInt(info.icount),
    extra: new Uint8Array(0),
  }
}

/** Refuses the L1 table of a snapshot that cannot be one. */
export function checkSnapshotL1(record: SnapshotRecord, clusterSize: number): void {
  if (record.l1Entries * entrySize > maxL1TableSize) throw new BlockError('EFBIG', 'Snapshot L1 table too large')
  if (!isSnapshotL1(record, clusterSize)) throw new BlockError('EINVAL', 'Snapshot L1 table offset invalid')
}

/** Whether the L1 table of a snapshot has a size and a place that it can have. */
export function isSnapshotL1(record: SnapshotRecord, clusterSize: number): boolean {
  const { l1Offset, l1Entries } = record
  return l1Entries * entrySize <= maxL1TableSize && Number.isSafeInteger(l1Offset) && isAligned(l1Offset, clusterSize)
}

const pieceSize = 1024 * 1024

/** Gives out bytes of the table, ever further on; what is behind the end of the file is zeroes. */
class TableSource {
  private readonly file: ChildHandle
  private readonly start: number
  private piece = nothing
  /** Where in the table the piece begins. */
  private pieceStart = 0

  constructor(file: ChildHandle, start: number) {
    this.file = file
    this.start = start
  }

  /** The result stays what it is: pieces are not used again. */
  async read(position: number, length: number): Promise<Uint8Array> {
    const end = position + length
    if (position < this.pieceStart || end > this.pieceStart + this.piece.byteLength) await this.load(position, length)
    const at = position - this.pieceStart
    if (at + length <= this.piece.byteLength) return this.piece.subarray(at, at + length)
    const bytes = new Uint8Array(length)
    bytes.set(this.piece.subarray(at))
    return bytes
  }

  private async load(position: number, length: number): Promise<void> {
    const inFile = Math.max(0, this.file.size - this.start - position)
    const piece = new Uint8Array(Math.min(inFile, Math.max(pieceSize, length)))
    if (piece.byteLength > 0) await this.file.read(this.start + position, piece)
    this.piece = piece
    this.pieceStart = position
  }
}
