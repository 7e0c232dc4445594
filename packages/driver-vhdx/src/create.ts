/** Making a new image: tables and metadata, then the headers. */
import { alignUp, BlockError, type CreateContext, divUp, isPowerOfTwo } from '@diskgraph/core/driver'
import { crc32c } from './crc32c.ts'
import { headerBytes } from './header.ts'
import {
  blockSizes,
  creatorOffset,
  entrySize,
  Guid,
  headerOffsets,
  identifier,
  itemOfDisk,
  MetadataField,
  maxSize,
  newGuid,
  noGuid,
  Parameter,
  putGuid,
  RegionField,
  Required,
  regionOffsets,
  regionSize,
  State,
  sectorsPerChunk,
  unit,
} from './layout.ts'
import type { VhdxCreateOptions } from './options.ts'
import { newLocator } from './parent-locator.ts'

const sectorSize = 512
const gib = 2 ** 30
const creator = 'diskgraph'
/** Entries are written in pieces of so many bytes. */
const piece = 2 ** 20

/** The sizes of a new image. EINVAL, in QEMU's words, for those that the format does not have. */
export function checkSettings(options: Readonly<Record<string, unknown>>): {
  readonly size: number
  readonly blockSize: number
  readonly logLength: number
} {
  const size = alignUp(options.size as number, sectorSize)
  if (size > maxSize) throw new BlockError('EINVAL', 'Image size too large; max of 64TB')
  const wanted = (options.blockSize as number | undefined) ?? 0
  if (wanted !== 0 && !isPowerOfTwo(wanted)) throw new BlockError('EINVAL', 'Block size must be a power of two')
  const blockSize = Math.min(blockSizes.most, Math.max(blockSizes.least, wanted === 0 ? blockSizeFor(size) : wanted))
  const logLength = Math.max(unit, alignUp((options.logSize as number | undefined) ?? unit, unit))
  checkBacking(options)
  if (logLength >= 2 ** 32) throw new BlockError('EINVAL', 'Log size must be smaller than 4 GB')
  return { size, blockSize, logLength }
}

function checkBacking({ backingFile, backingFmt, subformat }: Readonly<Record<string, unknown>>): void {
  if (backingFile === undefined) return
  if (subformat === 'fixed') throw new BlockError('ENOTSUP', "Fixed image can't have backing file")
  if (backingFmt !== undefined && backingFmt !== 'vhdx') {
    throw new BlockError('EINVAL', 'backing_file must be a vhdx image')
  }
}

/** The locator of the image below. */
async function locatorOf({ options, describe }: CreateContext<Settings>): Promise<Uint8Array | undefined> {
  const { backingFile } = options
  if (backingFile === undefined) return undefined
  const { contentId } = await describe({ filename: backingFile, format: 'vhdx' })
  if (contentId === undefined) throw new BlockError('EINVAL', 'backing_file must be a vhdx image')
  return newLocator(backingFile, contentId)
}

function blockSizeFor(size: number): number {
  if (size > 32 * 1024 * gib) return 64 * unit
  if (size > 100 * gib) return 32 * unit
  return size > gib ? 16 * unit : 8 * unit
}

type Settings = Omit<VhdxCreateOptions, 'file'>

/** Writes a new image into `children.file`. */
export async function create(context: CreateContext<Settings>): Promise<void> {
  const { options, random, children } = context
  const { size, blockSize, logLength } = checkSettings({ ...options })
  const fixed = options.subformat === 'fixed'
  const chunkRatio = (sectorsPerChunk * sectorSize) / blockSize
  const blocks = divUp(size, blockSize)
  const locator = await locatorOf(context)
  const chunks = divUp(blocks, chunkRatio)
  const entries = locator === undefined ? blocks + Math.max(0, chunks - 1) : chunks * (chunkRatio + 1)
  const bat = { offset: unit + logLength, length: Math.max(unit, alignUp(entries * entrySize, unit)) }
  const metadata = { offset: bat.offset + bat.length, length: unit }
  const data = alignUp(metadata.offset + metadata.length, unit)
  const file = children.require('file')
  if (file.size > 0) await file.truncate(0)
  await file.truncate(fixed ? data + blocks * blockSize : data, { exact: false })
  // What no block says of is that of the image below, where there is one.
  const zeroes = locator === undefined && (options.blockStateZero ?? !fixed)
  const state = zeroes ? State.zero : State.absent
  const entryOf = (block: number): number => (fixed ? data + block * blockSize + State.present : state)
  if (fixed || state !== State.absent) await writeTable(file, bat.offset, { entries, chunkRatio, entryOf })
  await file.write(metadata.offset, metadataTable(locator))
  await file.write(
    metadata.offset + MetadataField.tableSize,
    metadataItems({ size, blockSize, fixed, id: newGuid(random), locator }),
  )
  const regions = regionTable(bat, metadata)
  for (const offset of regionOffsets) await file.write(offset, regions)
  const [fileWriteGuid, dataWriteGuid] = [newGuid(random), newGuid(random)]
  for (const [i, offset] of headerOffsets.entries()) {
    const fields = { fileWriteGuid, dataWriteGuid, logGuid: noGuid, logOffset: unit, logLength }
    await file.write(offset, headerBytes({ ...fields, sequence: BigInt(i + 1) }))
  }
  await file.write(0, identification())
}

/** Writes entries of all blocks; those of sector bitmaps, which a disk without an image below has not, stay 0. */
async function writeTable(
  file: ReturnType<CreateContext['children']['require']>,
  offset: number,
  table: { readonly entries: number; readonly chunkRatio: number; entryOf(block: number): number },
): Promise<void> {
  const { entries, chunkRatio, entryOf } = table
  for (let at = 0; at < entries; at += piece / entrySize) {
    const bytes = new Uint8Array(Math.min(piece, (entries - at) * entrySize))
    const view = new DataView(bytes.buffer)
    for (let i = 0; i < bytes.length / entrySize; i++) {
      const chunk = Math.floor((at + i) / (chunkRatio + 1))
      const place = at + i - chunk * (chunkRatio + 1)
      if (place < chunkRatio) view.setBigUint64(i * entrySize, BigInt(entryOf(chunk * chunkRatio + place)), true)
    }
    await file.write(offset + at * entrySize, bytes)
  }
}

function identification(): Uint8Array {
  const bytes = new Uint8Array(creatorOffset + 512)
  bytes.set(new TextEncoder().encode(identifier))
  for (const [i, char] of [...creator].entries()) bytes[creatorOffset + 2 * i] = char.charCodeAt(0)
  return bytes
}

interface Place {
  readonly offset: number
  readonly length: number
}

function regionTable(bat: Place, metadata: Place): Uint8Array {
  const bytes = new Uint8Array(regionSize)
  const view = new DataView(bytes.buffer)
  bytes.set(new TextEncoder().encode('regi'))
  view.setUint32(RegionField.count, 2, true)
  for (const [i, { guid, place }] of [
    { guid: Guid.bat, place: bat },
    { guid: Guid.metadata, place: metadata },
  ].entries()) {
    const at = RegionField.entries + i * RegionField.entrySize
    putGuid(bytes, at, guid)
    view.setBigUint64(at + 16, BigInt(place.offset), true)
    view.setUint32(at + 24, place.length, true)
    view.setUint32(at + 28, Required.region, true)
  }
  view.setUint32(RegionField.checksum, crc32c(bytes, RegionField.checksum), true)
  return bytes
}

/** Items in their order: where they stand behind the table, and how long they are. */
const items = [
  { guid: Guid.fileParameters, offset: 0, length: 8, flags: Required.item },
  { guid: Guid.diskSize, offset: 8, length: 8, flags: Required.item | itemOfDisk },
  { guid: Guid.diskId, offset: 16, length: 16, flags: Required.item | itemOfDisk },
  { guid: Guid.logicalSector, offset: 32, length: 4, flags: Required.item | itemOfDisk },
  { guid: Guid.physicalSector, offset: 36, length: 4, flags: Required.item | itemOfDisk },
] as const

const locatorOffset = 40

function metadataTable(locator: Uint8Array | undefined): Uint8Array {
  const parent = { guid: Guid.parentLocator, offset: locatorOffset, length: locator?.length ?? 0, flags: Required.item }
  const all = locator === undefined ? items : [...items, parent]
  const bytes = new Uint8Array(MetadataField.entries + all.length * MetadataField.entrySize)
  const view = new DataView(bytes.buffer)
  bytes.set(new TextEncoder().encode('metadata'))
  view.setUint16(MetadataField.count, all.length, true)
  for (const [i, { guid, offset, length, flags }] of all.entries()) {
    const at = MetadataField.entries + i * MetadataField.entrySize
    putGuid(bytes, at, guid)
    view.setUint32(at + 16, MetadataField.tableSize + offset, true)
    view.setUint32(at + 20, length, true)
    view.setUint32(at + 24, flags, true)
  }
  return bytes
}

function metadataItems({
  size,
  blockSize,
  fixed,
  id,
  locator,
}: {
  readonly size: number
  readonly blockSize: number
  readonly fixed: boolean
  readonly id: string
  readonly locator: Uint8Array | undefined
}): Uint8Array {
  const bytes = new Uint8Array(locatorOffset + (locator?.length ?? 0))
  const view = new DataView(bytes.buffer)
  view.setUint32(0, blockSize, true)
  view.setUint32(4, locator !== undefined ? Parameter.hasParent : fixed ? Parameter.leaveAllocated : 0, true)
  view.setBigUint64(8, BigInt(size), true)
  putGuid(bytes, 16, id)
  view.setUint32(32, sectorSize, true)
  view.setUint32(36, sectorSize, true)
  if (locator !== undefined) bytes.set(locator, locatorOffset)
  return bytes
}
