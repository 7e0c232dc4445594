/**
 * The header of a Parallels image, version 2, little-endian. Source: "Parallels Expandable Image File Format" in QEMU's
 * documentation.
 *
 *     0   header, 64 bytes
 *     64  table (BAT): a 32-bit number of each cluster's place in the file, in clusters or, in the older layout, in
 *         sectors; 0 for none
 *         clusters, which need not be a power of two
 */
import { alignUp, BlockError } from '@diskgraph/core/driver'

export const sectorSize = 512
export const headerSize = 64
export const entrySize = 4
/** What stands in `inUse` while somebody has the image open for writing. */
export const inUseMagic = 0x746f6e59
/** The first bytes of a format extension. */
const extensionMagic = 0xab234cef23dcea87n
export const maxEntries = Math.floor((2 ** 31 - 1) / entrySize)
/** The largest cluster that QEMU reads, in sectors. */
export const maxTracks = Math.floor((2 ** 31 - 1) / 513)

const version = 2
/** Entries count sectors; the number of sectors has 32 bits. */
const sectorMagic = 'WithoutFreeSpace'
/** Entries count clusters. */
const clusterMagic = 'WithouFreSpacExt'

/** Offsets of header fields. */
export const Field = {
  magic: 0,
  version: 16,
  heads: 20,
  cylinders: 24,
  /** Sectors of a cluster. */
  tracks: 28,
  entries: 32,
  sectors: 36,
  inUse: 44,
  dataStart: 48,
  flags: 52,
  extension: 56,
} as const

/** The fields that this driver works with. */
export interface Header {
  readonly bytes: Uint8Array
  readonly clusterSize: number
  readonly entries: number
  /** Bytes of the disk. */
  readonly size: number
  /** Bytes that an entry counts. */
  readonly unit: number
  /** Offset at which data may begin, as it is written; 0 where it is not. */
  readonly dataStart: number
  readonly inUse: boolean
  /** Where the format extension stands; 0 for none. */
  readonly extension: number
}

/** Whether a file begins like a Parallels image. */
export function hasMagic(head: Uint8Array): boolean {
  if (head.length < headerSize) return false
  const magic = String.fromCharCode(...head.subarray(0, 16))
  return (magic === sectorMagic || magic === clusterMagic) && viewOf(head).getUint32(Field.version, true) === version
}

/** Checks the first 64 bytes of a file, with QEMU's words. EINVAL, or EFBIG. */
export function parseHeader(bytes: Uint8Array): Header {
  if (!hasMagic(bytes)) throw new BlockError('EINVAL', 'Image not in Parallels format')
  const view = viewOf(bytes)
  const inClusters = String.fromCharCode(...bytes.subarray(0, 16)) === clusterMagic
  const tracks = view.getUint32(Field.tracks, true)
  if (tracks === 0) throw new BlockError('EINVAL', 'Invalid image: Zero sectors per track')
  if (tracks > maxTracks) throw new BlockError('EINVAL', 'Invalid image: Too big cluster')
  const entries = view.getUint32(Field.entries, true)
  if (entries > maxEntries) throw new BlockError('EINVAL', 'Catalog too large')
  const sectors = inClusters ? Number(view.getBigUint64(Field.sectors, true)) : view.getUint32(Field.sectors, true)
  const size = sectors * sectorSize
  if (!Number.isSafeInteger(size)) throw new BlockError('EFBIG', 'the disk is larger than 2^53 - 1 bytes')
  const extension = view.getBigUint64(Field.extension, true)
  if (extension >= 2n ** 44n) throw new BlockError('EINVAL', 'Invalid image: Too big offset')
  const clusterSize = tracks * sectorSize
  return {
    bytes,
    clusterSize,
    entries,
    size,
    unit: inClusters ? clusterSize : sectorSize,
    dataStart: view.getUint32(Field.dataStart, true) * sectorSize,
    inUse: view.getUint32(Field.inUse, true) === inUseMagic,
    extension: Number(extension) * sectorSize,
  }
}

/** Checks the first 8 bytes of a format extension. */
export function checkExtension(head: Uint8Array): void {
  const magic = viewOf(head).getBigUint64(0, true)
  if (magic === extensionMagic) return
  throw new BlockError(
    'EINVAL',
    `Wrong parallels Format Extension magic: 0x${magic.toString(16)}, expected: 0x${extensionMagic.toString(16)}`,
  )
}

/** The header of a new image. */
export function newHeader(size: number, clusterSize: number): Uint8Array {
  const bytes = new Uint8Array(headerSize)
  const view = viewOf(bytes)
  const sectors = size / sectorSize
  const entries = Math.ceil(size / clusterSize)
  bytes.set(new TextEncoder().encode(clusterMagic), Field.magic)
  view.setUint32(Field.version, version, true)
  view.setUint32(Field.heads, 16, true)
  view.setUint32(Field.cylinders, Math.floor(sectors / 16 / 32), true)
  view.setUint32(Field.tracks, clusterSize / sectorSize, true)
  view.setUint32(Field.entries, entries, true)
  view.setBigUint64(Field.sectors, BigInt(sectors), true)
  view.setUint32(Field.dataStart, alignUp(headerSize + entries * entrySize, clusterSize) / sectorSize, true)
  return bytes
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
