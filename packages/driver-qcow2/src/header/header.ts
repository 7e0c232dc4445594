/**
 * The image header: parsing with every check that needs nothing but the header, and writing it back.
 *
 * The message texts are those that clients of QEMU's tools match. Nothing is allocated from a length in the image
 * before that length has been checked; a 64-bit field above 2^53 - 1 is refused here and nowhere later.
 */
import { alignUp, BlockError, isAligned } from '@diskgraph/core/driver'
import { decodeText, encodeText, printable, readU64, refuse, viewOf, writeU64 } from '../bytes.ts'
import {
  type FeatureName,
  findExtension,
  type HeaderExtension,
  parseExtensions,
  parseFeatureNames,
  serializeExtensions,
  withExtension,
} from './extensions.ts'
import {
  AutoclearBit,
  CompressionType,
  CryptMethod,
  ExtensionType,
  entrySize,
  geometryOf,
  HeaderField,
  hasFeature,
  headerLengthV2,
  headerLengthV3,
  IncompatibleBit,
  magic,
  maxBackingFileSize,
  maxClusterBits,
  maxL1TableSize,
  maxRefcountOrder,
  maxRefcountTableSize,
  minClusterBits,
  minExtendedClusterSize,
  minHeaderLengthV3,
  refcountOrderV2,
  withFeature,
} from './layout.ts'

/** The header of an image, as numbers. Version 2 images have the version 3 fields with their implied values. */
export interface Header {
  readonly version: 2 | 3
  readonly clusterBits: number
  readonly size: number
  readonly cryptMethod: number
  /** Entries of the active L1 table. */
  readonly l1Size: number
  readonly l1TableOffset: number
  readonly refcountTableOffset: number
  readonly refcountTableClusters: number
  readonly nbSnapshots: number
  readonly snapshotsOffset: number
  readonly incompatibleFeatures: bigint
  readonly compatibleFeatures: bigint
  readonly autoclearFeatures: bigint
  readonly refcountOrder: number
  readonly headerLength: number
  readonly compressionType: number
  /** Bytes of the header behind compression_type that no version known here defines; preserved. */
  readonly extraFields: Uint8Array
  /** Backing file name as it is written; undefined: none. */
  readonly backingFile: string | undefined
  /** The bytes of the name, which need not be UTF-8; written back as they are. */
  readonly backingFileBytes: Uint8Array | undefined
  readonly backingFormat: string | undefined
  /** All header extensions in order, known and unknown. */
  readonly extensions: readonly HeaderExtension[]
}

/**
 * How many bytes of the file are needed to parse the header: `head` is enough if header, extensions and backing file
 * name end inside it; else the whole first cluster.
 */
export function headerRegion(head: Uint8Array): number {
  const view = viewOf(head)
  const clusterBits = view.getUint32(HeaderField.clusterBits)
  if (clusterBits < minClusterBits || clusterBits > maxClusterBits) return head.byteLength
  const cluster = 2 ** clusterBits
  const version = view.getUint32(HeaderField.version)
  const headerLength = version === 2 ? headerLengthV2 : view.getUint32(HeaderField.headerLength)
  const backing = readU64(view, HeaderField.backingFileOffset)
  const name = backing + view.getUint32(HeaderField.backingFileSize)
  if (backing > 0 && backing <= cluster && name > head.byteLength) return Math.max(cluster, head.byteLength)
  const end = Math.min(head.byteLength, backing > 0 ? backing : cluster)
  return extensionsEnd(view, headerLength, end) === undefined ? Math.max(cluster, head.byteLength) : head.byteLength
}

/** Where the extension area ends before `end`; undefined when it goes further. */
function extensionsEnd(view: DataView, start: number, end: number): number | undefined {
  let position = start
  while (position + 8 <= end) {
    if (view.getUint32(position) === ExtensionType.end) return position
    position += 8 + alignUp(view.getUint32(position + 4), 8)
  }
  return end < view.byteLength ? end : undefined
}

/** Whether `head` starts like a qcow2 image of version 2 or 3. */
export function hasMagic(head: Uint8Array): boolean {
  if (head.byteLength < 8) return false
  const view = viewOf(head)
  return view.getUint32(HeaderField.magic) === magic && view.getUint32(HeaderField.version) >= 2
}

/**
 * Parses and checks the header at the start of a file, `region`, which has the bytes that {@link headerRegion} asks
 * for and is padded with zeroes where the file is shorter. EINVAL or ENOTSUP with the reason.
 */
export function parseHeader(region: Uint8Array, fileSize: number, check = false): Header {
  const view = viewOf(region)
  if (fileSize < headerLengthV2) refuse('EINVAL', fileSize < 4 || view.getUint32(0) !== magic ? notQcow2 : tooShort)
  if (view.getUint32(HeaderField.magic) !== magic) refuse('EINVAL', notQcow2)
  const version = view.getUint32(HeaderField.version)
  if (version !== 2 && version !== 3) refuse('ENOTSUP', `Unsupported qcow2 version ${version}`)
  const clusterBits = view.getUint32(HeaderField.clusterBits)
  if (clusterBits < minClusterBits || clusterBits > maxClusterBits) {
    refuse('EINVAL', `Unsupported cluster size: 2^${clusterBits}`)
  }
  const headerLength = version === 2 ? headerLengthV2 : view.getUint32(HeaderField.headerLength)
  if (version === 3 && (headerLength < minHeaderLengthV3 || fileSize < minHeaderLengthV3)) refuse('EINVAL', tooShort)
  if (headerLength > 2 ** clusterBits) refuse('EINVAL', 'qcow2 header exceeds cluster size')
  const backingFileOffset = readU64(view, HeaderField.backingFileOffset)
  if (backingFileOffset > 2 ** clusterBits) refuse('EINVAL', 'Invalid backing file offset')
  const areaEnd = backingFileOffset === 0 ? 2 ** clusterBits : backingFileOffset
  const areaStart = Math.min(headerLength, areaEnd)
  const fields = parseFields(view, version, headerLength)
  const area = region.subarray(areaStart)
  const extensions = parseExtensions(area, areaEnd - areaStart, fields.cryptMethod)
  checkFeatures(fields, extensions)
  if (fields.refcountOrder > maxRefcountOrder) {
    refuse('EINVAL', 'Reference count entry width too large; may not exceed 64 bits')
  }
  checkTables(fields, check)
  const backingFileBytes = parseBackingFile(region, view, backingFileOffset, 2 ** clusterBits)
  const format = findExtension(extensions, ExtensionType.backingFormat)
  return {
    ...fields,
    version,
    headerLength,
    extraFields: region.slice(Math.min(headerLength, HeaderField.compressionType + 1), headerLength),
    backingFileBytes,
    backingFile: backingFileBytes && decodeText(backingFileBytes),
    backingFormat: format && decodeText(format.data),
    extensions,
  }
}

const notQcow2 = 'Image is not in qcow2 format'
const tooShort = 'qcow2 header too short'

/** The fields of a header that are plain numbers. */
type HeaderFields = Omit<
  Header,
  'headerLength' | 'extraFields' | 'backingFile' | 'backingFileBytes' | 'backingFormat' | 'extensions'
>

function parseFields(view: DataView, version: 2 | 3, headerLength: number): HeaderFields {
  const three = version === 3
  return {
    version,
    clusterBits: view.getUint32(HeaderField.clusterBits),
    size: readU64(view, HeaderField.size),
    cryptMethod: view.getUint32(HeaderField.cryptMethod),
    l1Size: view.getUint32(HeaderField.l1Size),
    l1TableOffset: readU64(view, HeaderField.l1TableOffset),
    refcountTableOffset: readU64(view, HeaderField.refcountTableOffset),
    refcountTableClusters: view.getUint32(HeaderField.refcountTableClusters),
    nbSnapshots: view.getUint32(HeaderField.nbSnapshots),
    snapshotsOffset: readU64(view, HeaderField.snapshotsOffset),
    incompatibleFeatures: three ? view.getBigUint64(HeaderField.incompatibleFeatures) : 0n,
    compatibleFeatures: three ? view.getBigUint64(HeaderField.compatibleFeatures) : 0n,
    autoclearFeatures: three ? view.getBigUint64(HeaderField.autoclearFeatures) : 0n,
    refcountOrder: three ? view.getUint32(HeaderField.refcountOrder) : refcountOrderV2,
    compressionType: headerLength > HeaderField.compressionType ? view.getUint8(HeaderField.compressionType) : 0,
  }
}

function parseBackingFile(
  region: Uint8Array,
  view: DataView,
  offset: number,
  clusterSize: number,
): Uint8Array | undefined {
  if (offset === 0) return undefined
  const length = view.getUint32(HeaderField.backingFileSize)
  if (length > Math.min(maxBackingFileSize, clusterSize - offset)) refuse('EINVAL', 'Backing file name too long')
  return length === 0 ? undefined : region.slice(offset, offset + length)
}

/** All incompatible features that an image may have without being refused as unknown. */
const knownIncompatible = maskOf(IncompatibleBit)
/** The autoclear features whose meaning is known here. */
export const knownAutoclear = maskOf(AutoclearBit)

function maskOf(bits: Readonly<Record<string, number>>): bigint {
  return Object.values(bits).reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n)
}

/** Refuses unknown incompatible features by their names, and contradictions between features and fields. */
function checkFeatures(fields: HeaderFields, extensions: readonly HeaderExtension[]): void {
  const unknown = fields.incompatibleFeatures & ~knownIncompatible
  if (unknown !== 0n) {
    const table = findExtension(extensions, ExtensionType.featureNames)
    const names = table === undefined ? [] : parseFeatureNames(table.data)
    refuse('ENOTSUP', `Unsupported qcow2 feature(s): ${describeUnknown(unknown, names)}`)
  }
  if (
    hasFeature(fields.autoclearFeatures, AutoclearBit.rawExternalData) &&
    !hasFeature(fields.incompatibleFeatures, IncompatibleBit.externalDataFile)
  ) {
    refuse('EINVAL', 'data-file-raw requires a data file')
  }
  if (
    hasFeature(fields.incompatibleFeatures, IncompatibleBit.extendedL2) &&
    2 ** fields.clusterBits < minExtendedClusterSize
  ) {
    refuse(
      'EINVAL',
      `Extended L2 entries are only supported with cluster sizes of at least ${minExtendedClusterSize} bytes`,
    )
  }
  const flagged = hasFeature(fields.incompatibleFeatures, IncompatibleBit.compressionType)
  const { compressionType } = fields
  if (compressionType !== CompressionType.zlib && compressionType !== CompressionType.zstd) {
    refuse('ENOTSUP', `qcow2: unknown compression type: ${compressionType}`)
  }
  if (flagged && compressionType === CompressionType.zlib) {
    refuse('EINVAL', 'qcow2: Compression type incompatible feature bit must not be set')
  }
  if (!flagged && compressionType !== CompressionType.zlib) {
    refuse('EINVAL', 'qcow2: Compression type incompatible feature bit must be set')
  }
}

function describeUnknown(unknown: bigint, names: readonly FeatureName[]): string {
  const known: string[] = []
  let rest = unknown
  for (const { kind, bit, name } of names) {
    if (kind !== 0 || bit > 63 || !hasFeature(rest, bit)) continue
    known.push(printable(name))
    rest = withFeature(rest, bit, false)
  }
  if (rest !== 0n) known.push(`Unknown incompatible feature: ${rest.toString(16)}`)
  return known.join(', ')
}

/** Refuses an image that counts no clusters. */
export function checkRefcountTable({ refcountTableClusters }: Pick<HeaderFields, 'refcountTableClusters'>): void {
  if (refcountTableClusters === 0) refuse('EINVAL', 'Image does not contain a reference count table')
}

/** Checks sizes and offsets of all tables against the caps of the format. A check can make a refcount table anew. */
function checkTables(fields: HeaderFields, check: boolean): void {
  const { clusterSize, l2Span } = geometryOf(fields.clusterBits, fields.refcountOrder, fields.incompatibleFeatures)
  if (fields.cryptMethod > CryptMethod.luks) refuse('EINVAL', `Unsupported encryption method ${fields.cryptMethod}`)
  if (!check) checkRefcountTable(fields)
  const refcountTableSize = fields.refcountTableClusters * clusterSize
  if (refcountTableSize > maxRefcountTableSize) refuse('EFBIG', 'Reference count table too large')
  checkOffset('Reference count table', fields.refcountTableOffset, refcountTableSize, clusterSize)
  if (fields.l1Size > maxL1TableSize / entrySize) refuse('EFBIG', 'Active L1 table too large')
  checkOffset('Active L1 table', fields.l1TableOffset, fields.l1Size * entrySize, clusterSize)
  const needed = Math.ceil(fields.size / l2Span)
  if (!Number.isSafeInteger(fields.size) || needed > 0x7fffffff) refuse('EFBIG', 'Image is too big')
  if (needed > fields.l1Size) refuse('EINVAL', 'L1 table is too small')
}

function checkOffset(what: string, offset: number, length: number, clusterSize: number): void {
  if (!Number.isSafeInteger(offset + length) || !isAligned(offset, clusterSize)) {
    refuse('EINVAL', `${what} offset invalid`)
  }
}

/**
 * The bytes of the header with extensions and backing file name, to be written at offset 0 in one write.
 * ENOSPC when they do not fit into one cluster.
 */
export function serializeHeader(header: Header): Uint8Array {
  const clusterSize = 2 ** header.clusterBits
  const length = serializedLength(header)
  const extensions = serializeExtensions(header.extensions)
  const backing = header.backingFileBytes
  const total = length + extensions.byteLength + (backing?.byteLength ?? 0)
  if (total > clusterSize) {
    throw new BlockError(
      'ENOSPC',
      `cannot write the qcow2 header: it needs ${total} bytes, a cluster has ${clusterSize}`,
    )
  }
  const bytes = new Uint8Array(alignUp(total, 8) > clusterSize ? total : alignUp(total, 8))
  bytes.set(serializeFields(header))
  bytes.set(extensions, length)
  if (backing !== undefined) {
    const at = length + extensions.byteLength
    bytes.set(backing, at)
    const view = viewOf(bytes)
    writeU64(view, HeaderField.backingFileOffset, at)
    view.setUint32(HeaderField.backingFileSize, backing.byteLength)
  }
  return bytes
}

/** A header that does without what stands behind its first sector. */
interface ShortHeader {
  /** The first sector, with the extensions that have room there, and the name of the backing file at `nameOffset`. */
  readonly sector: Uint8Array
  readonly name: Uint8Array | undefined
  readonly nameOffset: number
}

/** `header` cut to a sector, with its name at the end of the cluster; undefined when that is not behind `end`. */
export function shortHeader(header: Header, sectorSize: number, end: number): ShortHeader | undefined {
  const { backingFileBytes: name } = header
  const nameOffset = 2 ** header.clusterBits - alignUp(name?.byteLength ?? 0, 8)
  if (nameOffset < end) return undefined
  const kept: HeaderExtension[] = []
  for (const extension of header.extensions) {
    const area = serializeExtensions([...kept, extension])
    if (serializedLength(header) + area.byteLength <= sectorSize) kept.push(extension)
  }
  const sector = new Uint8Array(sectorSize)
  sector.set(serializeHeader({ ...header, extensions: kept, backingFileBytes: undefined }))
  if (name !== undefined) {
    const view = viewOf(sector)
    writeU64(view, HeaderField.backingFileOffset, nameOffset)
    view.setUint32(HeaderField.backingFileSize, name.byteLength)
  }
  return { sector, name, nameOffset }
}

function serializedLength(header: Header): number {
  if (header.version === 2) return headerLengthV2
  return Math.max(headerLengthV3, header.headerLength)
}

/** The bytes of the fields alone; they say nothing of a backing file name. */
export function serializeFields(header: Header): Uint8Array {
  const length = serializedLength(header)
  const bytes = new Uint8Array(length)
  const view = viewOf(bytes)
  view.setUint32(HeaderField.magic, magic)
  view.setUint32(HeaderField.version, header.version)
  view.setUint32(HeaderField.clusterBits, header.clusterBits)
  writeU64(view, HeaderField.size, header.size)
  view.setUint32(HeaderField.cryptMethod, header.cryptMethod)
  view.setUint32(HeaderField.l1Size, header.l1Size)
  writeU64(view, HeaderField.l1TableOffset, header.l1TableOffset)
  writeU64(view, HeaderField.refcountTableOffset, header.refcountTableOffset)
  view.setUint32(HeaderField.refcountTableClusters, header.refcountTableClusters)
  view.setUint32(HeaderField.nbSnapshots, header.nbSnapshots)
  writeU64(view, HeaderField.snapshotsOffset, header.snapshotsOffset)
  if (header.version === 2) return bytes
  view.setBigUint64(HeaderField.incompatibleFeatures, header.incompatibleFeatures)
  view.setBigUint64(HeaderField.compatibleFeatures, header.compatibleFeatures)
  view.setBigUint64(HeaderField.autoclearFeatures, header.autoclearFeatures)
  view.setUint32(HeaderField.refcountOrder, header.refcountOrder)
  view.setUint32(HeaderField.headerLength, length)
  view.setUint8(HeaderField.compressionType, header.compressionType)
  bytes.set(header.extraFields, HeaderField.compressionType + 1)
  return bytes
}

/** The header with another backing reference; undefined: none. EINVAL when the name or format is too long. */
export function withBacking(header: Header, name: string | undefined, format: string | undefined): Header {
  const bytes = name === undefined || name === '' ? undefined : encodeText(name)
  if (bytes !== undefined && bytes.byteLength > maxBackingFileSize) refuse('EINVAL', 'Backing file name too long')
  const data = format === undefined || bytes === undefined ? undefined : encodeText(format)
  return {
    ...header,
    backingFile: bytes && name,
    backingFileBytes: bytes,
    backingFormat: data && format,
    extensions: withExtension(header.extensions, ExtensionType.backingFormat, data),
  }
}
