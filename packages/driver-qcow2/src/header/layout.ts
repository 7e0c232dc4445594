/**
 * Every number of the qcow2 format, named as in its specification ("Qcow2 Image File Format", interop/qcow2), and
 * the limits that implementations agree on. All fields are big endian.
 *
 *     L1/L2 entry   63       62          61 … 56    55 … 9                8 … 1      0
 *                   copied   compressed  reserved   host cluster offset   reserved   zero (L2, version 3)
 *
 *     compressed    62  61 … x                       x-1 … 0              x = 62 - (cluster_bits - 8)
 *     L2 entry      1   additional 512-byte sectors  host offset, not aligned
 *
 * Entries are read as two 32-bit halves; the masks below belong to one half each.
 */
import { mod } from '@diskgraph/core/driver'
import { highHalf } from '../bytes.ts'

/** Section "Header": byte offsets of the fields. */
export const HeaderField = {
  magic: 0,
  version: 4,
  backingFileOffset: 8,
  backingFileSize: 16,
  clusterBits: 20,
  size: 24,
  cryptMethod: 32,
  l1Size: 36,
  l1TableOffset: 40,
  refcountTableOffset: 48,
  refcountTableClusters: 56,
  nbSnapshots: 60,
  snapshotsOffset: 64,
  incompatibleFeatures: 72,
  compatibleFeatures: 80,
  autoclearFeatures: 88,
  refcountOrder: 96,
  headerLength: 100,
  compressionType: 104,
} as const

/** `QFI\xfb`. */
export const magic = 0x514649fb
/** Length of a version 2 header. */
export const headerLengthV2 = 72
/** The shortest version 3 header. */
export const minHeaderLengthV3 = 104
/** The version 3 header with compression_type and its padding, as it is written here. */
export const headerLengthV3 = 112

export const minClusterBits = 9
export const maxClusterBits = 21
/** Version 2 has this order always: 16-bit refcounts. */
export const refcountOrderV2 = 4
export const maxRefcountOrder = 6
export const maxBackingFileSize = 1023
/** Format names longer than this are refused by other readers. */
export const maxBackingFormatSize = 15

/** Section "Header", incompatible_features: bit numbers. */
export const IncompatibleBit = {
  dirty: 0,
  corrupt: 1,
  externalDataFile: 2,
  compressionType: 3,
  extendedL2: 4,
} as const
/** Section "Header", compatible_features. */
export const CompatibleBit = { lazyRefcounts: 0 } as const
/** Section "Header", autoclear_features. */
export const AutoclearBit = { bitmaps: 0, rawExternalData: 1 } as const

/** Whether `bit` is set in a feature word. */
export function hasFeature(features: bigint, bit: number): boolean {
  return (features & (1n << BigInt(bit))) !== 0n
}

/** The feature word with `bit` set or cleared. */
export function withFeature(features: bigint, bit: number, set: boolean): bigint {
  const mask = 1n << BigInt(bit)
  return set ? features | mask : features & ~mask
}

/** Section "Header extensions": types. */
export const ExtensionType = {
  end: 0x00000000,
  backingFormat: 0xe2792aca,
  featureNames: 0x6803f857,
  bitmaps: 0x23852875,
  encryptionHeader: 0x0537be77,
  dataFile: 0x44415441,
} as const
/** Section "Feature name table": bytes of an entry and of the name in it. */
export const featureNameEntrySize = 48
export const featureNameSize = 46
/** Size of the bitmaps extension. */
export const bitmapsExtensionSize = 24

/** Section "Bitmaps extension": byte offsets in its data. */
export const BitmapsField = { count: 0, reserved: 4, directorySize: 8, directoryOffset: 16 } as const
/** Section "Bitmap directory": byte offsets in an entry; extra data and name follow. */
export const BitmapDirectoryField = {
  tableOffset: 0,
  tableSize: 8,
  flags: 12,
  type: 16,
  granularityBits: 17,
  nameSize: 18,
  extraDataSize: 20,
} as const
/** Section "Bitmap directory", flags. */
export const BitmapFlag = { inUse: 1, auto: 2, extraDataCompatible: 4 } as const
/** Section "Bitmap directory", type: dirty tracking bitmap. */
export const dirtyTrackingBitmap = 1
/** Bytes of a bitmap directory entry before its extra data. */
export const bitmapDirectoryEntrySize = 24
/** Section "Bitmap table", lower half of an entry without an offset: the cluster is all ones. */
export const loAllOnes = 0x00000001
/** Lower half of a bitmap table entry: bits 1-8 are reserved. */
export const loBitmapReserved = 0x000001fe
/** Upper half of a bitmap table entry: bits 56-63 are reserved. */
export const hiBitmapReserved = 0xff000000

/** Caps of bitmaps that QEMU has, too. */
export const maxBitmaps = 65535
export const maxBitmapNameSize = 1023
export const minBitmapGranularityBits = 9
export const maxBitmapGranularityBits = 31
/** 65,535 entries with names of 1,000 bytes. */
export const maxBitmapDirectorySize = 67107840
export const maxBitmapTableSize = 2 ** 27 * 8
/** Bytes of the bits of one bitmap. */
export const maxBitmapSize = 512 * 1024 * 1024

export const CryptMethod = { none: 0, aes: 1, luks: 2 } as const
export const CompressionType = { zlib: 0, zstd: 1 } as const

/** Bytes of an entry of the L1, L2 and refcount tables. */
export const entrySize = 8
/** Section "Extended L2 Entries": bytes of an entry; and where in it the halves of the bitmap stand. */
const extendedEntrySize = 16
export const ExtendedEntry = { zero: 8, allocated: 12 } as const
/** Subclusters of a cluster, and a half of the bitmap with the bits of all of them. */
const subclustersPerCluster = 32
export const allSubclusters = 0xffffffff
/** The smallest cluster that has subclusters of a sector. */
export const minExtendedClusterSize = 16384
/** Upper half of an L1 or L2 entry: refcount is exactly one. */
export const hiCopied = 0x80000000
/** Upper half of an L2 entry: compressed cluster. */
export const hiCompressed = 0x40000000
/** Upper half: bits 55-32 of a host offset. */
const hiOffset = 0x00ffffff
/** Upper half: bits of an offset that a safe integer cannot hold (above 2^53 - 1). */
export const hiTooFar = 0x00e00000
/** Lower half: bits 31-9 of a host offset. */
export const loOffset = 0xfffffe00
/** Lower half of an L2 entry: reads as zeroes (version 3). */
export const loZero = 0x00000001
/** Upper half of an L1 entry: bits 56-62 are reserved. */
export const hiL1Reserved = 0x7f000000
/** Lower half of an L1 entry: bits 0-8 are reserved. */
export const loL1Reserved = 0x000001ff
/** Upper half of the L2 entry of a standard cluster: bits 56-61 are reserved. */
export const hiL2Reserved = 0x3f000000
/** Lower half of the L2 entry of a standard cluster: bits 1-8 are reserved. */
export const loL2Reserved = 0x000001fe
/** Lower half of a refcount table entry: bits 0-8 are reserved. */
export const loRefcountTableReserved = 0x000001ff
/** Unit of the length of compressed data. */
const compressedSectorSize = 512

/** Caps that all implementations share, in bytes. */
export const maxL1TableSize = 32 * 1024 * 1024
export const maxRefcountTableSize = 8 * 1024 * 1024
export const maxSnapshotTableSize = 64 * 1024 * 1024
export const maxSnapshots = 65536
/** Extra data of one snapshot table entry. */
export const maxSnapshotExtraData = 1024

/** Section "Snapshots": byte offsets in a snapshot table entry; id and name follow the extra data. */
export const SnapshotField = {
  l1TableOffset: 0,
  l1Size: 8,
  idSize: 12,
  nameSize: 14,
  dateSeconds: 16,
  dateNanoseconds: 20,
  vmClockNanoseconds: 24,
  vmStateSize: 32,
  extraDataSize: 36,
  extraVmStateSize: 40,
  extraDiskSize: 48,
  extraIcount: 56,
} as const
/** Bytes of a snapshot table entry before its extra data. */
export const snapshotEntrySize = 40

/** Sizes that an image of given cluster and refcount width has. */
export interface Geometry {
  readonly clusterBits: number
  readonly clusterSize: number
  /** Guest data stands in an external data file, at the offset that it has on the disk. */
  readonly external: boolean
  /** L2 entries tell of each subcluster. */
  readonly extended: boolean
  /** Bytes of an L2 entry. */
  readonly l2EntrySize: number
  /** Bytes that an L2 entry tells of at least: a subcluster, or a cluster that has none. */
  readonly zeroUnit: number
  /** Entries of an L2 table. */
  readonly l2Entries: number
  /** Bytes of the disk that one L2 table maps. */
  readonly l2Span: number
  readonly refcountOrder: number
  readonly refcountBits: number
  /** The largest count that an entry holds, capped at 2^53 - 1. */
  readonly maxRefcount: number
  /** Entries of a refcount block. */
  readonly refcountBlockEntries: number
  /** Number of bits of the offset in a compressed cluster descriptor ("x"). */
  readonly compressedOffsetBits: number
}

/** The sizes that follow from the two numbers in the header, and from its incompatible features. */
export function geometryOf(clusterBits: number, refcountOrder: number, features = 0n): Geometry {
  const clusterSize = 2 ** clusterBits
  const refcountBits = 2 ** refcountOrder
  const extended = hasFeature(features, IncompatibleBit.extendedL2)
  const l2EntrySize = extended ? extendedEntrySize : entrySize
  const l2Entries = clusterSize / l2EntrySize
  return {
    clusterBits,
    clusterSize,
    external: hasFeature(features, IncompatibleBit.externalDataFile),
    extended,
    l2EntrySize,
    zeroUnit: extended ? clusterSize / subclustersPerCluster : clusterSize,
    l2Entries,
    l2Span: l2Entries * clusterSize,
    refcountOrder,
    refcountBits,
    maxRefcount: Math.min(2 ** refcountBits - 1, Number.MAX_SAFE_INTEGER),
    refcountBlockEntries: (clusterSize * 8) / refcountBits,
    compressedOffsetBits: 62 - (clusterBits - 8),
  }
}

/** The host offset in the two halves of an L1 entry or of the L2 entry of a standard cluster (bits 9-55). */
export function offsetOf(hi: number, lo: number): number {
  return (hi & hiOffset) * 0x1_0000_0000 + ((lo & loOffset) >>> 0)
}

/** A compressed cluster descriptor, taken apart. */
interface CompressedDescriptor {
  /** Where the data starts in the image file. */
  readonly offset: number
  /** Bytes up to the end of the last sector that may hold data. */
  readonly length: number
}

/** Takes a compressed cluster descriptor apart. The offset may be above 2^53 - 1 in a damaged image. */
export function compressedDescriptor(geometry: Geometry, hi: number, lo: number): CompressedDescriptor {
  const offsetBitsHigh = geometry.compressedOffsetBits - 32
  const descriptor = hi & 0x3fffffff
  const offset = (descriptor % 2 ** offsetBitsHigh) * 0x1_0000_0000 + (lo >>> 0)
  const sectors = Math.floor(descriptor / 2 ** offsetBitsHigh) + 1
  return { offset, length: sectors * compressedSectorSize - mod(offset, compressedSectorSize) }
}

/** The upper half of the L2 entry for compressed data of `length` bytes at `offset`. */
export function compressedEntryHigh(geometry: Geometry, offset: number, length: number): number {
  const offsetBitsHigh = geometry.compressedOffsetBits - 32
  const first = Math.floor(offset / compressedSectorSize)
  const last = Math.floor((offset + length - 1) / compressedSectorSize)
  return hiCompressed + (last - first) * 2 ** offsetBitsHigh + highHalf(offset)
}
