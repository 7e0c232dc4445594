/**
 * The header of a QED image, little-endian: checked when it is read, with QEMU's words. Source: "QED Image File Format"
 * of QEMU's documentation (docs/interop/qed_spec.txt), section Header.
 *
 *     0                 header, and the name of the backing file
 *     l1_table_offset   the root: where tables stand
 *     …                 clusters: tables and data, in the order in which they were taken
 */
import { BlockError, isAligned, isPowerOfTwo } from '@diskgraph/core/driver'
import type { NamePlace } from '@diskgraph/sparse'

/** Bytes of the fields. */
export const headerFields = 64
const magic = 0x00444551
export const entrySize = 8
export const sectorSize = 512
export const clusterSizes = { least: 2 ** 12, most: 2 ** 26 } as const
export const tableSizes = { least: 1, most: 16 } as const
/** The longest name of a backing file that is read. */
const longestName = 65536

/** Bits of `features`. */
export const Feature = {
  backingFile: 1,
  needCheck: 2,
  /** The backing file is raw, whatever it looks like. */
  backingFormatNoProbe: 4,
} as const

const knownFeatures = Feature.backingFile | Feature.needCheck | Feature.backingFormatNoProbe

/** Offsets of fields. */
const Field = {
  magic: 0,
  clusterSize: 4,
  tableSize: 8,
  headerSize: 12,
  features: 16,
  compatFeatures: 24,
  autoclearFeatures: 32,
  l1TableOffset: 40,
  imageSize: 48,
  backingFilenameOffset: 56,
  backingFilenameSize: 60,
} as const

/** What the fields say. Sizes and offsets are bytes. */
export interface Header {
  readonly clusterSize: number
  /** Of a table, the root included. */
  readonly tableBytes: number
  /** Clusters before the first one of the image. */
  readonly headerClusters: number
  readonly features: number
  readonly autoclearFeatures: bigint
  readonly rootOffset: number
  readonly size: number
  /** Where the name of the backing file stands. */
  readonly name: NamePlace | undefined
}

/** Whether a file begins like a QED image. */
export function hasMagic(head: Uint8Array): boolean {
  return head.length >= 4 && viewOf(head).getUint32(0, true) === magic
}

/** Checks the fields, `bytes`, of a file of `fileSize` bytes. EINVAL where they are wrong, ENOTSUP for unknown features. */
export function parseHeader(bytes: Uint8Array, fileSize: number): Header {
  const view = viewOf(bytes)
  const u32 = (field: number): number => view.getUint32(field, true)
  const u64 = (field: number): bigint => view.getBigUint64(field, true)
  if (u32(Field.magic) !== magic) throw new BlockError('EINVAL', 'Image not in QED format')
  const features = u64(Field.features)
  if ((features & ~BigInt(knownFeatures)) !== 0n) {
    const unknown = (features & ~BigInt(knownFeatures)).toString(16)
    throw new BlockError('ENOTSUP', `Unsupported QED features: ${unknown}`)
  }
  const [clusterSize, tableSize, headerClusters] = [u32(Field.clusterSize), u32(Field.tableSize), u32(Field.headerSize)]
  if (!isClusterSize(clusterSize)) throw new BlockError('EINVAL', 'QED cluster size is invalid')
  if (!isTableSize(tableSize)) throw new BlockError('EINVAL', 'QED table size is invalid')
  const size = u64(Field.imageSize)
  if (size > BigInt(maxSize(clusterSize, tableSize)) || size % BigInt(sectorSize) !== 0n) {
    throw new BlockError('EINVAL', 'QED image size is invalid')
  }
  const tableBytes = tableSize * clusterSize
  const root = u64(Field.l1TableOffset)
  const start = Math.max(1, headerClusters) * clusterSize
  if (root % BigInt(clusterSize) !== 0n || root < BigInt(start) || root + BigInt(tableBytes) > BigInt(fileSize)) {
    throw new BlockError('EINVAL', 'QED table offset is invalid')
  }
  return {
    clusterSize,
    tableBytes,
    headerClusters: Math.max(1, headerClusters),
    features: Number(features),
    autoclearFeatures: u64(Field.autoclearFeatures),
    rootOffset: Number(root),
    size: Number(size),
    name: (Number(features) & Feature.backingFile) === 0 ? undefined : nameOf(view, start),
  }
}

function nameOf(view: DataView, headerBytes: number): NamePlace {
  const offset = view.getUint32(Field.backingFilenameOffset, true)
  const length = view.getUint32(Field.backingFilenameSize, true)
  if (offset < headerFields || offset + length > headerBytes || length > longestName) {
    throw new BlockError('EINVAL', 'the name of the backing file stands outside of the header')
  }
  return { offset, length }
}

/** The fields of a header, for the file. */
export function headerBytes(header: Header): Uint8Array {
  const bytes = new Uint8Array(headerFields)
  const view = viewOf(bytes)
  view.setUint32(Field.magic, magic, true)
  view.setUint32(Field.clusterSize, header.clusterSize, true)
  view.setUint32(Field.tableSize, header.tableBytes / header.clusterSize, true)
  view.setUint32(Field.headerSize, header.headerClusters, true)
  view.setBigUint64(Field.features, BigInt(header.features), true)
  view.setBigUint64(Field.autoclearFeatures, header.autoclearFeatures, true)
  view.setBigUint64(Field.l1TableOffset, BigInt(header.rootOffset), true)
  view.setBigUint64(Field.imageSize, BigInt(header.size), true)
  view.setUint32(Field.backingFilenameOffset, header.name?.offset ?? 0, true)
  view.setUint32(Field.backingFilenameSize, header.name?.length ?? 0, true)
  return bytes
}

/** Where a name stands in a new header, and the features that it needs. ENOSPC where there is no room. */
export function placeName(name: Uint8Array, room: number): NamePlace {
  if (name.length === 0 || name.length > Math.min(longestName, room - headerFields)) {
    throw new BlockError(
      'EINVAL',
      `the name of the backing file has ${name.length} bytes, and the header no room for it`,
    )
  }
  return { offset: headerFields, length: name.length }
}

export function isClusterSize(size: number): boolean {
  return size >= clusterSizes.least && size <= clusterSizes.most && isPowerOfTwo(size)
}

/** In clusters. */
export function isTableSize(size: number): boolean {
  return size >= tableSizes.least && size <= tableSizes.most && isPowerOfTwo(size)
}

/** The largest disk that tables of that size have room for, as far as it is a safe number. */
function maxSize(clusterSize: number, tableSize: number): number {
  const entries = (clusterSize * tableSize) / entrySize
  return Math.min(entries * entries * clusterSize, Number.MAX_SAFE_INTEGER - (Number.MAX_SAFE_INTEGER % sectorSize))
}

/** The size of a disk. EINVAL, in QEMU's words, where the format has no such disk. */
export function checkSize(size: number, clusterSize: number, tableSize: number): number {
  const most = maxSize(clusterSize, tableSize)
  if (size > most || !isAligned(size, sectorSize)) {
    const text = `QED image size must be a non-zero multiple of cluster size and less than ${most} bytes`
    throw new BlockError('EINVAL', text)
  }
  return size
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
