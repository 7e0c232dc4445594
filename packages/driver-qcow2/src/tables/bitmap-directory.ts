/**
 * The bitmap directory: parsing with every check that needs nothing else, and writing it back.
 *
 * Sections "Bitmaps extension" and "Bitmap directory". The message texts are those that clients of QEMU's tools match.
 */
import { alignUp, type ChildHandle, type DirtyBitmap, isAligned } from '@diskgraph/core/driver'
import { decodeText, printable, readU64, refuse, viewOf, writeU64 } from '../bytes.ts'
import {
  BitmapDirectoryField,
  BitmapFlag,
  BitmapsField,
  bitmapDirectoryEntrySize,
  bitmapsExtensionSize,
  dirtyTrackingBitmap,
  entrySize,
  maxBitmapDirectorySize,
  maxBitmapGranularityBits,
  maxBitmapNameSize,
  maxBitmapSize,
  maxBitmaps,
  maxBitmapTableSize,
  minBitmapGranularityBits,
} from '../header/layout.ts'
import type { FileRange } from './overlap.ts'

/** A bitmap of an image. */
export interface StoredBitmap {
  readonly name: string
  /** The bytes of the name, which need not be UTF-8; written back as they are. */
  readonly nameBytes: Uint8Array
  readonly granularityBits: number
  /** As on disk: bits of {@link BitmapFlag}. */
  readonly flags: number
  /** 0 while it has never been stored. */
  readonly tableOffset: number
  readonly tableEntries: number
  /** What nobody here knows, kept as it is. */
  readonly extraData: Uint8Array
  /** What it has marked; undefined in an image that is only looked at. */
  readonly bitmap: DirtyBitmap | undefined
  /** `changes` of `bitmap` when the bits on disk were the same. */
  readonly storedChanges: number
}

/** Whether it can be used: it was stored after its last use, and nothing unknown belongs to it. */
export function isUsable({ flags, extraData }: StoredBitmap): boolean {
  const known = extraData.byteLength === 0 || (flags & BitmapFlag.extraDataCompatible) !== 0
  return known && (flags & BitmapFlag.inUse) === 0
}

/** Where the extension says that the directory is. EINVAL when that cannot be. */
export function directoryRange(extension: Uint8Array, clusterSize: number): FileRange {
  const view = viewOf(extension)
  const count = view.getUint32(BitmapsField.count)
  if (view.getUint32(BitmapsField.reserved) !== 0) refuse('EINVAL', 'bitmaps_ext: Reserved field is not zero')
  if (count > maxBitmaps) {
    const most = `exceeding the QEMU supported maximum of ${maxBitmaps}`
    refuse('EINVAL', `bitmaps_ext: Image has ${count} bitmaps, ${most}`)
  }
  if (count === 0) refuse('EINVAL', 'found bitmaps extension with zero bitmaps')
  const offset = readU64(view, BitmapsField.directoryOffset)
  const length = readU64(view, BitmapsField.directorySize)
  if (!Number.isSafeInteger(offset + length) || !isAligned(offset, clusterSize)) {
    refuse('EINVAL', 'bitmaps_ext: invalid bitmap directory offset')
  }
  if (length > maxBitmapDirectorySize) {
    const most = `exceeds the maximum supported size (${maxBitmapDirectorySize})`
    refuse('EINVAL', `bitmaps_ext: bitmap directory size (${length}) ${most}`)
  }
  if (length === 0) refuse('EINVAL', 'Requested bitmap directory size is zero')
  return { offset, length }
}

/** Reads the directory that the extension points to. EINVAL with the reason when it is damaged. */
export async function readDirectory(
  file: ChildHandle,
  extension: Uint8Array,
  clusterSize: number,
): Promise<StoredBitmap[]> {
  const { offset, length } = directoryRange(extension, clusterSize)
  if (offset + length > file.size) refuse('EINVAL', 'Broken bitmap directory: it lies behind the end of the file')
  const bytes = new Uint8Array(length)
  await file.read(offset, bytes)
  const bitmaps: StoredBitmap[] = []
  const names = new Set<string>()
  for (let at = 0; at < length; ) {
    const bitmap = parseEntry(bytes, at, clusterSize)
    if (names.has(bitmap.name)) refuse('EINVAL', `Bitmap already exists: ${printable(bitmap.name)}`)
    names.add(bitmap.name)
    bitmaps.push(bitmap)
    at += entryLength(bitmap)
  }
  const count = viewOf(extension).getUint32(BitmapsField.count)
  if (bitmaps.length !== count) {
    const which = bitmaps.length < count ? 'Less' : 'More'
    refuse('EINVAL', `${which} bitmaps found than specified in header extension`)
  }
  return bitmaps
}

/** Bytes of an entry with its padding. */
function entryLength({ nameBytes, extraData }: StoredBitmap): number {
  return alignUp(bitmapDirectoryEntrySize + nameBytes.byteLength + extraData.byteLength, 8)
}

function parseEntry(bytes: Uint8Array, at: number, clusterSize: number): StoredBitmap {
  if (at + bitmapDirectoryEntrySize > bytes.byteLength) refuse('EINVAL', 'Broken bitmap directory')
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, bytes.byteLength - at)
  const nameSize = view.getUint16(BitmapDirectoryField.nameSize)
  const extraSize = view.getUint32(BitmapDirectoryField.extraDataSize)
  const nameAt = bitmapDirectoryEntrySize + extraSize
  if (alignUp(nameAt + nameSize, 8) > view.byteLength) refuse('EINVAL', 'Broken bitmap directory')
  const entry = bytes.slice(at, at + nameAt + nameSize)
  const nameBytes = entry.subarray(nameAt)
  const bitmap: StoredBitmap = {
    name: decodeText(nameBytes),
    nameBytes,
    granularityBits: view.getUint8(BitmapDirectoryField.granularityBits),
    flags: view.getUint32(BitmapDirectoryField.flags),
    tableOffset: readU64(view, BitmapDirectoryField.tableOffset),
    tableEntries: view.getUint32(BitmapDirectoryField.tableSize),
    extraData: entry.subarray(bitmapDirectoryEntrySize, nameAt),
    bitmap: undefined,
    storedChanges: 0,
  }
  if (!isValid(bitmap, view.getUint8(BitmapDirectoryField.type), clusterSize)) {
    refuse('EINVAL', `Bitmap '${printable(bitmap.name)}' doesn't satisfy the constraints`)
  }
  return bitmap
}

function isValid(bitmap: StoredBitmap, type: number, clusterSize: number): boolean {
  const { nameBytes, granularityBits, flags, tableOffset, tableEntries, extraData } = bitmap
  const { inUse, auto, extraDataCompatible } = BitmapFlag
  const known = inUse | auto | (extraData.byteLength > 0 ? extraDataCompatible : 0)
  return (
    type === dirtyTrackingBitmap &&
    (flags & ~known) === 0 &&
    nameBytes.byteLength > 0 &&
    nameBytes.byteLength <= maxBitmapNameSize &&
    granularityBits >= minBitmapGranularityBits &&
    granularityBits <= maxBitmapGranularityBits &&
    tableOffset > 0 &&
    Number.isSafeInteger(tableOffset) &&
    isAligned(tableOffset, clusterSize) &&
    tableEntries > 0 &&
    tableEntries * entrySize <= maxBitmapTableSize &&
    tableEntries * clusterSize <= maxBitmapSize
  )
}

/** The bytes of a directory of `bitmaps`, all of which have been stored. */
export function serializeDirectory(bitmaps: readonly StoredBitmap[]): Uint8Array {
  const bytes = new Uint8Array(bitmaps.reduce((length, bitmap) => length + entryLength(bitmap), 0))
  let at = 0
  for (const bitmap of bitmaps) {
    const { nameBytes, extraData } = bitmap
    const view = new DataView(bytes.buffer, at)
    writeU64(view, BitmapDirectoryField.tableOffset, bitmap.tableOffset)
    view.setUint32(BitmapDirectoryField.tableSize, bitmap.tableEntries)
    view.setUint32(BitmapDirectoryField.flags, bitmap.flags)
    view.setUint8(BitmapDirectoryField.type, dirtyTrackingBitmap)
    view.setUint8(BitmapDirectoryField.granularityBits, bitmap.granularityBits)
    view.setUint16(BitmapDirectoryField.nameSize, nameBytes.byteLength)
    view.setUint32(BitmapDirectoryField.extraDataSize, extraData.byteLength)
    bytes.set(extraData, at + bitmapDirectoryEntrySize)
    bytes.set(nameBytes, at + bitmapDirectoryEntrySize + extraData.byteLength)
    at += entryLength(bitmap)
  }
  return bytes
}

/** The data of the extension for `count` bitmaps whose directory stands at `range`. */
export function serializeExtension(count: number, range: FileRange): Uint8Array {
  const data = new Uint8Array(bitmapsExtensionSize)
  const view = viewOf(data)
  view.setUint32(BitmapsField.count, count)
  writeU64(view, BitmapsField.directorySize, range.length)
  writeU64(view, BitmapsField.directoryOffset, range.offset)
  return data
}
