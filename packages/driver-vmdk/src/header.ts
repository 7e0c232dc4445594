/** Headers of sparse extents, checked when they are read, with QEMU's words. */
import { BlockError, divUp, isPowerOfTwo } from '@diskgraph/core/driver'
import {
  compressionMethod,
  Esx,
  entrySize,
  esxMagic,
  esxTableEntries,
  HeaderFlag,
  Hosted,
  hostedMagic,
  lineEnds,
  Most,
  rootAtEnd,
  sectorSize,
} from './layout.ts'

/** What the header of a sparse extent says. Offsets and lengths are bytes. */
export interface Header {
  readonly kind: 'hosted' | 'esx'
  readonly version: number
  readonly capacity: number
  readonly grainSize: number
  readonly tableEntries: number
  readonly rootEntries: number
  readonly rootOffset: number
  readonly secondRootOffset: number | undefined
  /** Where a descriptor stands in the file, and its room; of no length where there is none. */
  readonly descriptor: { readonly offset: number; readonly length: number }
  readonly zeroGrains: boolean
  readonly compressed: boolean
  readonly markers: boolean
  /** What counts is the header before the end of the file. */
  readonly atEnd: boolean
  /** The file is not shorter. */
  readonly overhead: number
}

/** Whether a sparse extent begins with these bytes. */
export function isSparse(head: Uint8Array): boolean {
  return [hostedMagic, esxMagic].some((magic) => text(head, magic.length) === magic)
}

/** Reads a header. EINVAL for fields that are wrong, ENOTSUP for a version that is not known. */
export function parseHeader(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const magic = text(bytes, hostedMagic.length)
  if (magic === hostedMagic) return parseHosted(view)
  if (magic === esxMagic) return parseEsx(view)
  throw new BlockError('EINVAL', 'Image not in VMDK format')
}

function parseHosted(view: DataView): Header {
  const flags = view.getUint32(Hosted.flags, true)
  const has = (bit: number): boolean => Math.floor(flags / bit) % 2 === 1
  const version = view.getUint32(Hosted.version, true)
  if (version > 3 || version === 0) throw new BlockError('ENOTSUP', `Unsupported VMDK version ${version}`)
  const grainSize = checkedGrain(view.getBigUint64(Hosted.grainSize, true))
  const tableEntries = view.getUint32(Hosted.tableEntries, true)
  if (tableEntries > Most.tableEntries) throw new BlockError('EINVAL', 'L2 table size too big')
  if (tableEntries === 0) throw new BlockError('EINVAL', 'tables of the image have no entries')
  const { capacity, rootEntries } = extentOf(view.getBigUint64(Hosted.capacity, true), grainSize, tableEntries)
  if (has(HeaderFlag.lineEnds) && text(bytesOf(view, Hosted.lineEnds), lineEnds.length) !== lineEnds) {
    throw new BlockError('EINVAL', 'the image is damaged: it was transferred as a text')
  }
  const compressed = has(HeaderFlag.compressed)
  const compression = view.getUint16(Hosted.compression, true)
  if (compressed && compression !== compressionMethod) {
    throw new BlockError('ENOTSUP', `grains are compressed in a way that is not known, ${compression}`)
  }
  const root = view.getBigUint64(Hosted.root, true)
  const second = sectors(view.getBigUint64(Hosted.secondRoot, true), 'second directory')
  return {
    kind: 'hosted',
    version,
    capacity,
    grainSize,
    tableEntries,
    rootEntries,
    rootOffset: root === rootAtEnd ? 0 : sectors(root, 'directory'),
    secondRootOffset: has(HeaderFlag.secondRoot) && second > 0 ? second : undefined,
    descriptor: {
      offset: sectors(view.getBigUint64(Hosted.descriptorOffset, true), 'descriptor'),
      length: sectors(view.getBigUint64(Hosted.descriptorSize, true), 'descriptor'),
    },
    zeroGrains: has(HeaderFlag.zeroGrains),
    compressed,
    markers: has(HeaderFlag.markers),
    atEnd: root === rootAtEnd,
    overhead: sectors(view.getBigUint64(Hosted.overhead, true), 'data'),
  }
}

function parseEsx(view: DataView): Header {
  const grainSize = checkedGrain(BigInt(view.getUint32(Esx.grainSize, true)))
  const { capacity, rootEntries } = extentOf(BigInt(view.getUint32(Esx.capacity, true)), grainSize, esxTableEntries)
  const rootOffset = view.getUint32(Esx.root, true) * sectorSize
  if (view.getUint32(Esx.rootEntries, true) < rootEntries) {
    throw new BlockError('EINVAL', 'the directory of the image is too small for the disk')
  }
  return {
    kind: 'esx',
    version: 1,
    capacity,
    grainSize,
    tableEntries: esxTableEntries,
    rootEntries,
    rootOffset,
    secondRootOffset: undefined,
    descriptor: { offset: 0, length: 0 },
    zeroGrains: false,
    compressed: false,
    markers: false,
    atEnd: false,
    overhead: rootOffset + rootEntries * entrySize,
  }
}

function checkedGrain(inSectors: bigint): number {
  if (inSectors > BigInt(Most.grainSectors) || !isPowerOfTwo(Number(inSectors))) {
    throw new BlockError('EINVAL', 'Invalid granularity, image may be corrupt')
  }
  return Number(inSectors) * sectorSize
}

/** Bytes of the disk, and entries of the directory that they need. */
function extentOf(
  inSectors: bigint,
  grainSize: number,
  tableEntries: number,
): { readonly capacity: number; readonly rootEntries: number } {
  const rootEntries = divUp(Number(inSectors) * sectorSize, grainSize * tableEntries)
  if (rootEntries > Most.rootEntries) throw new BlockError('EINVAL', 'L1 size too big')
  return { capacity: sectors(inSectors, 'end of the disk'), rootEntries }
}

function sectors(value: bigint, what: string): number {
  if (value > BigInt(Math.floor(Number.MAX_SAFE_INTEGER / sectorSize))) {
    throw new BlockError('EINVAL', `the ${what} of the image is said to stand beyond all files`)
  }
  return Number(value) * sectorSize
}

function text(bytes: Uint8Array, length: number): string {
  return String.fromCharCode(...bytes.subarray(0, length))
}

function bytesOf(view: DataView, offset: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + offset)
}
