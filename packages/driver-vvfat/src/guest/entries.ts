/** Entries of a directory as a guest wrote them. Names are held to what a host may be asked for. */
import { isZero } from '@diskgraph/core/driver'
import { Attribute, lastPiece, longNameOffsets } from '../disk/entries.ts'
import { entrySize } from '../disk/geometry.ts'
import { aliasChecksum, folded, plain } from '../disk/names.ts'
import { unsound } from './chains.ts'

/** What stands in an entry. */
export interface ReadEntry {
  readonly name: string
  /** The name says which letters are large; else it has large ones only. */
  readonly isExact: boolean
  readonly isDirectory: boolean
  readonly cluster: number
  readonly size: number
  /** Milliseconds since 1970. */
  readonly modified: number
}

const longestOnHost = 255
/** Cases of the alias, in the byte that Windows NT has for them. */
const smallBase = 0x08
const smallType = 0x10
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be in a name
const refusedInLong = /[\u0000-\u001f"*/:<>?\\|]/
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above
const refusedInAlias = /[\u0000-\u0020"*+,./:;<=>?[\\\]|a-z]/
/** Names that Windows takes for devices. */
const devices = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i
/** Letters above 127 of code page 437, the first that a PC had. */
const upperHalf =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0'

/** The entries of the directory `owner`, without `.`, `..` and labels. EIO when it is none. */
export function readEntries(bytes: Uint8Array, owner: string, own: number | undefined): ReadEntry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (own !== undefined) checkFirst(view, owner, own)
  const entries: ReadEntry[] = []
  const names = new Set<string>()
  let pieces: LongName | undefined
  for (let at = 0; at + entrySize <= bytes.length; at += entrySize) {
    const head = bytes[at] as number
    if (head === 0) break
    const attributes = bytes[at + 11] as number
    if (head === 0xe5) pieces = undefined
    else if ((attributes & 0x3f) === Attribute.LongName) pieces = addPiece(pieces, bytes.subarray(at, at + entrySize))
    else {
      if ((attributes & Attribute.Volume) === 0 && (own === undefined || !isDots(bytes, at))) {
        const entry = entryAt(new DataView(view.buffer, view.byteOffset + at, entrySize), pieces, owner)
        if (names.has(folded(entry.name))) throw unsound(`'${owner}' has two entries called '${entry.name}'`)
        names.add(folded(entry.name))
        entries.push(entry)
      }
      pieces = undefined
    }
  }
  return entries
}

/** A directory begins with an entry for itself, unless nothing was written into it yet. */
function checkFirst(view: DataView, owner: string, own: number): void {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  const cluster = view.getUint16(20, true) * 0x10000 + view.getUint16(26, true)
  if ((isDots(bytes, 0) && cluster === own) || isZero(bytes)) return
  throw unsound(`'${owner}' is no directory inside`)
}

/** Whether the entry at `at` is `.` or `..`. */
function isDots(bytes: Uint8Array, at: number): boolean {
  return /^\.\.? +$/.test(String.fromCharCode(...bytes.subarray(at, at + 11)))
}

interface LongName {
  readonly checksum: number
  /** The number of the piece that stood last; they count down to 1. */
  readonly piece: number
  readonly text: string
}

/** The name so far with the piece of an entry before it; undefined where that does not fit. */
function addPiece(before: LongName | undefined, entry: Uint8Array): LongName | undefined {
  const view = new DataView(entry.buffer, entry.byteOffset, entrySize)
  const piece = view.getUint8(0)
  const checksum = view.getUint8(13)
  const units = longNameOffsets.map((at) => view.getUint16(at, true))
  const end = units.indexOf(0)
  const text = String.fromCharCode(...(end < 0 ? units : units.slice(0, end)))
  if ((piece & lastPiece) !== 0) return { checksum, piece: piece & ~lastPiece, text }
  if (before === undefined || before.checksum !== checksum || before.piece !== piece + 1) return undefined
  return { checksum, piece, text: text + before.text }
}

function entryAt(view: DataView, pieces: LongName | undefined, owner: string): ReadEntry {
  const raw = new Uint8Array(view.buffer, view.byteOffset, 11)
  const cases = view.getUint8(12)
  const alias = aliasText(raw, cases, owner)
  const isLong = pieces?.piece === 1 && pieces.checksum === aliasChecksum(raw)
  const name = isLong ? longName(pieces.text, owner) : alias
  if (process.platform === 'win32' && devices.test(name)) throw unsound(`'${owner}' has '${name}', which is a device`)
  return {
    name,
    isExact: isLong || (cases & (smallBase | smallType)) !== 0,
    isDirectory: (view.getUint8(11) & Attribute.Directory) !== 0,
    cluster: view.getUint16(20, true) * 0x10000 + view.getUint16(26, true),
    size: view.getUint32(28, true),
    modified: milliseconds(view.getUint16(24, true), view.getUint16(22, true)),
  }
}

function longName(text: string, owner: string): string {
  const isSound = !/\p{Surrogate}/u.test(text) && !refusedInLong.test(text) && !/^\.{0,2}$/.test(text)
  if (isSound && new TextEncoder().encode(text).length <= longestOnHost) return text
  throw unsound(`'${owner}' has an entry with the name ${JSON.stringify(text)}, which no file can have`)
}

function aliasText(raw: Uint8Array, cases: number, owner: string): string {
  const text = Array.from(raw, (byte, i) => {
    // The first byte of a letter that would mark a deleted entry.
    const value = i === 0 && byte === 5 ? 0xe5 : byte
    return value < 128 ? String.fromCharCode(value) : (upperHalf[value - 128] as string)
  }).join('')
  const [base, type] = [text.slice(0, 8).trimEnd(), text.slice(8).trimEnd()]
  if (base === '' || [...base, ...type].some((character) => refusedInAlias.test(character))) {
    throw unsound(`'${owner}' has an entry with the short name ${JSON.stringify(text)}, which is none`)
  }
  const cased = (part: string, flag: number): string => ((cases & flag) === 0 ? part : part.toLowerCase())
  return plain(cased(base, smallBase).padEnd(8) + cased(type, smallType))
}

/** Local time, as FAT has it. */
function milliseconds(date: number, time: number): number {
  const [year, month, day] = [1980 + (date >> 9), (date >> 5) & 15, date & 31]
  return new Date(
    year,
    Math.max(month - 1, 0),
    Math.max(day, 1),
    time >> 11,
    (time >> 5) & 63,
    2 * (time & 31),
  ).getTime()
}
