/**
 * The header of a QCOW image, big-endian: checked when it is read, with QEMU's words. Sources: "QEMU Copy-On-Write file
 * format" of libqcow's documentation, and images that qemu-img made.
 *
 *     0          header, and the name of the backing file
 *     l1_table   where tables stand
 *     …          tables and clusters, in the order in which they were taken
 */
import { alignUp, BlockError } from '@diskgraph/core/driver'
import type { NamePlace } from '@diskgraph/sparse'

/** Bytes of the fields. */
export const headerFields = 48
export const entrySize = 8
export const sectorSize = 512
const magic = 0x514649fb
const version = 1
/** The longest name of a backing file. */
const longestName = 1023
/** Of the root, so that its size is a number of 31 bits. */
const mostTables = 2 ** 28 - 1

/** How the data is encrypted. */
export const CryptMethod = { none: 0, aes: 1 } as const

/** Offsets of fields. */
const Field = {
  magic: 0,
  version: 4,
  backingFileOffset: 8,
  backingFileSize: 16,
  mtime: 20,
  size: 24,
  clusterBits: 32,
  l2Bits: 33,
  cryptMethod: 36,
  l1TableOffset: 40,
} as const

/** What the fields say. Sizes and offsets are bytes. */
export interface Header {
  readonly size: number
  readonly clusterBits: number
  readonly l2Bits: number
  readonly cryptMethod: number
  readonly rootOffset: number
  /** Where the name of the backing file stands. */
  readonly name: NamePlace | undefined
}

/** Whether a file begins like a QCOW image. */
export function hasMagic(head: Uint8Array): boolean {
  if (head.length < 8) return false
  const view = viewOf(head)
  return view.getUint32(Field.magic) === magic && view.getUint32(Field.version) === version
}

/** Checks the fields, `bytes`, of a file of `fileSize` bytes. EINVAL, with QEMU's words, where they are wrong. */
export function parseHeader(bytes: Uint8Array, fileSize: number): Header {
  const view = viewOf(bytes)
  if (view.getUint32(Field.magic) !== magic) throw new BlockError('EINVAL', 'Image not in qcow format')
  const found = view.getUint32(Field.version)
  if (found !== version) {
    throw new BlockError('ENOTSUP', `qcow (v1) does not support qcow version ${found}`, {
      ...(found === 2 || found === 3 ? { hint: "Try the 'qcow2' driver instead." } : {}),
    })
  }
  const size = view.getBigUint64(Field.size)
  const [clusterBits, l2Bits] = [view.getUint8(Field.clusterBits), view.getUint8(Field.l2Bits)]
  const cryptMethod = view.getUint32(Field.cryptMethod)
  if (size <= 1n) throw new BlockError('EINVAL', 'Image size is too small (must be at least 2 bytes)')
  if (clusterBits < 9 || clusterBits > 16) {
    throw new BlockError('EINVAL', 'Cluster size must be between 512 and 64k')
  }
  if (l2Bits < 6 || l2Bits > 13) throw new BlockError('EINVAL', 'L2 table size must be between 512 and 64k')
  if (cryptMethod !== CryptMethod.none && cryptMethod !== CryptMethod.aes) {
    throw new BlockError('EINVAL', 'invalid encryption method in qcow header')
  }
  if (size > BigInt(largestSize(clusterBits, l2Bits))) throw new BlockError('EINVAL', 'Image too large')
  const rootOffset = view.getBigUint64(Field.l1TableOffset)
  if (rootOffset < headerFields || rootOffset > BigInt(fileSize)) {
    throw new BlockError('EINVAL', `the root of the tables stands at ${rootOffset}, out of the file`)
  }
  return {
    size: Number(size / BigInt(sectorSize)) * sectorSize,
    clusterBits,
    l2Bits,
    cryptMethod,
    rootOffset: Number(rootOffset),
    name: nameOf(view, fileSize),
  }
}

function nameOf(view: DataView, fileSize: number): Header['name'] {
  const offset = view.getBigUint64(Field.backingFileOffset)
  if (offset === 0n) return undefined
  const length = view.getUint32(Field.backingFileSize)
  if (length > longestName) throw new BlockError('EINVAL', 'Backing file name too long')
  if (offset + BigInt(length) > BigInt(fileSize)) {
    throw new BlockError('EINVAL', 'the name of the backing file stands behind the end of the file')
  }
  return { offset: Number(offset), length }
}

/** A header and the name behind it, for the file; undefined: no backing file. */
export function headerBytes(header: Omit<Header, 'name'>, name: Uint8Array | undefined): Uint8Array {
  const bytes = new Uint8Array(rootOffsetFor(name))
  const view = viewOf(bytes)
  view.setUint32(Field.magic, magic)
  view.setUint32(Field.version, version)
  view.setBigUint64(Field.size, BigInt(header.size))
  view.setUint8(Field.clusterBits, header.clusterBits)
  view.setUint8(Field.l2Bits, header.l2Bits)
  view.setUint32(Field.cryptMethod, header.cryptMethod)
  view.setBigUint64(Field.l1TableOffset, BigInt(header.rootOffset))
  if (name !== undefined) {
    view.setBigUint64(Field.backingFileOffset, BigInt(headerFields))
    view.setUint32(Field.backingFileSize, name.length)
    bytes.set(name, headerFields)
  }
  return bytes
}

/** Where the root of a new image stands. EINVAL for a name that is too long. */
export function rootOffsetFor(name: Uint8Array | undefined): number {
  if (name !== undefined && name.length > longestName) throw new BlockError('EINVAL', 'Backing file name too long')
  return alignUp(headerFields + (name?.length ?? 0), entrySize)
}

/** The largest disk, in bytes, as far as it is a safe number. */
export function largestSize(clusterBits: number, l2Bits: number): number {
  const most = mostTables * 2 ** (clusterBits + l2Bits)
  return Math.min(most, Number.MAX_SAFE_INTEGER - (sectorSize - 1))
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
