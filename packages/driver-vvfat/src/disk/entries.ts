/** Entries of directories, 32 bytes each: a long name stands before its file in pieces of 13 characters, the last one first. */
import { entrySize } from './geometry.ts'
import { aliasChecksum, type FatName } from './names.ts'

export const Attribute = { Volume: 0x08, Directory: 0x10, Archive: 0x20, LongName: 0x0f } as const

/** Characters of a long name in one entry, and where each of them stands. */
export const longNameOffsets = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30]
export const lastPiece = 0x40

/** What an entry tells beside the name. Times are milliseconds since 1970. */
interface EntryFields {
  readonly attributes: number
  readonly cluster: number
  readonly size: number
  readonly created: number
  readonly accessed: number
  readonly modified: number
}

/** How many entries a name takes. */
export function entriesOf(name: FatName): number {
  return name.isShort ? 1 : 1 + Math.ceil(name.long.length / longNameOffsets.length)
}

/** Writes the entries of a file or directory at `offset`; where they end. */
export function writeEntry(buf: Uint8Array, offset: number, name: FatName, fields: EntryFields): number {
  let at = offset
  if (!name.isShort) {
    const pieces = Math.ceil(name.long.length / longNameOffsets.length)
    for (let piece = pieces; piece >= 1; piece--) {
      writePiece(buf.subarray(at, at + entrySize), name, piece, piece === pieces)
      at += entrySize
    }
  }
  writeShort(buf.subarray(at, at + entrySize), name.alias, fields)
  return at + entrySize
}

/** Writes one entry without a long name: `.`, `..`, or a label. */
export function writeShort(entry: Uint8Array, alias: Uint8Array, fields: EntryFields): void {
  const view = new DataView(entry.buffer, entry.byteOffset, entrySize)
  entry.set(alias)
  entry[11] = fields.attributes
  const [created, accessed, modified] = [dosTime(fields.created), dosTime(fields.accessed), dosTime(fields.modified)]
  view.setUint16(14, created.time, true)
  view.setUint16(16, created.date, true)
  view.setUint16(18, accessed.date, true)
  view.setUint16(20, Math.floor(fields.cluster / 0x10000), true)
  view.setUint16(22, modified.time, true)
  view.setUint16(24, modified.date, true)
  view.setUint16(26, fields.cluster % 0x10000, true)
  view.setUint32(28, fields.size, true)
}

function writePiece(entry: Uint8Array, name: FatName, piece: number, isLast: boolean): void {
  const view = new DataView(entry.buffer, entry.byteOffset, entrySize)
  entry[0] = piece | (isLast ? lastPiece : 0)
  entry[11] = Attribute.LongName
  entry[13] = aliasChecksum(name.alias)
  const start = (piece - 1) * longNameOffsets.length
  for (const [i, at] of longNameOffsets.entries()) {
    const index = start + i
    // The end of the name is a zero, unless a piece ends there, too.
    const unit = index < name.long.length ? name.long.charCodeAt(index) : index === name.long.length ? 0 : 0xffff
    view.setUint16(at, unit, true)
  }
}

/** Local time, as FAT has it, in steps of two seconds; 1980 to 2107. No time is 0. */
function dosTime(milliseconds: number): { readonly date: number; readonly time: number } {
  if (milliseconds === 0) return { date: 0, time: 0 }
  const time = new Date(milliseconds)
  const year = time.getFullYear()
  if (!(year >= 1980)) return { date: 0x21, time: 0 }
  if (year > 2107) return { date: 0xff9f, time: 0xbf7d }
  return {
    date: ((year - 1980) << 9) | ((time.getMonth() + 1) << 5) | time.getDate(),
    time: (time.getHours() << 11) | (time.getMinutes() << 5) | (time.getSeconds() >> 1),
  }
}
