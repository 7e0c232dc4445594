/**
 * The header and the numbers of QCOW, version 1, big-endian. Source: M. McLoughlin, "The QCOW Image Format"; sizes and
 * limits from what qemu-img writes and refuses.
 *
 *     0   magic "QFI\xfb"   4   version: 1        8   offset of the backing file's name
 *     16  its length        20  time              24  bytes of the disk
 *     32  cluster_bits      33  l2_bits           36  encryption: 0 none, 1 AES     40  offset of the L1 table
 *
 * An entry of the L1 table is the offset of an L2 table; one of that the offset of a cluster, or, with bit 63, of compressed
 * data whose length stands in `cluster_bits` bits above the offset.
 */
import { BlockError, divUp } from '@diskgraph/core/driver'

export const headerSize = 48
export const entrySize = 8
export const sectorSize = 512
const magic = 0x514649fb
export const longestName = 1023

/** Offsets of header fields. */
const Field = {
  magic: 0,
  version: 4,
  backingOffset: 8,
  backingLength: 16,
  time: 20,
  size: 24,
  clusterBits: 32,
  l2Bits: 33,
  encryption: 36,
  l1Offset: 40,
} as const

/** What a header says. */
export interface Header {
  readonly size: number
  readonly clusterBits: number
  readonly l2Bits: number
  readonly l1Offset: number
  /** Where the name of the backing file stands. */
  readonly name: { readonly offset: number; readonly length: number } | undefined
}

/** Whether a file begins as an image. */
export function hasMagic(head: Uint8Array): boolean {
  if (head.length < 8) return false
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  return view.getUint32(Field.magic) === magic && view.getUint32(Field.version) === 1
}

/** Reads a header. EINVAL, with QEMU's words, for fields that are wrong; ENOTSUP for encryption. */
export function parseHeader(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(Field.magic) !== magic) throw new BlockError('EINVAL', 'Image not in qcow format')
  const version = view.getUint32(Field.version)
  if (version !== 1) throw new BlockError('ENOTSUP', `qcow (v${version}) does not support qcow version ${version}`)
  const size = view.getBigUint64(Field.size)
  if (size <= 1n) throw new BlockError('EINVAL', 'Image size is too small (must be at least 2 bytes)')
  const clusterBits = view.getUint8(Field.clusterBits)
  if (clusterBits < 9 || clusterBits > 16) throw new BlockError('EINVAL', 'Cluster size must be between 512 and 64k')
  const l2Bits = view.getUint8(Field.l2Bits)
  if (l2Bits < 6 || l2Bits > 13) throw new BlockError('EINVAL', 'L2 table size must be between 512 and 64k')
  const encryption = view.getUint32(Field.encryption)
  if (encryption !== 0) {
    throw new BlockError('ENOTSUP', 'the image is encrypted, which is not supported', {
      hint: 'convert it with qemu-img, to a format that is',
    })
  }
  if (size > BigInt(maxSize(clusterBits, l2Bits))) throw new BlockError('EINVAL', 'Image too large')
  const l1Offset = view.getBigUint64(Field.l1Offset)
  if (l1Offset < BigInt(headerSize) || l1Offset > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new BlockError('EINVAL', 'the L1 table of the image is said to stand where it cannot')
  }
  const length = view.getUint32(Field.backingLength)
  const nameOffset = view.getBigUint64(Field.backingOffset)
  if (nameOffset !== 0n && (length > longestName || nameOffset > BigInt(2 ** 40))) {
    throw new BlockError('EINVAL', 'Backing file name too long')
  }
  const name = nameOffset === 0n || length === 0 ? undefined : { offset: Number(nameOffset), length }
  // The end of the last sector belongs to the disk.
  return { size: divUp(Number(size), sectorSize) * sectorSize, clusterBits, l2Bits, l1Offset: Number(l1Offset), name }
}

/** The largest disk whose L1 table QEMU reads, as far as it is a safe number. */
function maxSize(clusterBits: number, l2Bits: number): number {
  const mostEntries = (2 ** 31 - 1) / entrySize
  return Math.min(Math.floor(mostEntries) * 2 ** (clusterBits + l2Bits), Number.MAX_SAFE_INTEGER - sectorSize)
}

/** Entries of the L1 table. */
export function l1Entries({ size, clusterBits, l2Bits }: Pick<Header, 'size' | 'clusterBits' | 'l2Bits'>): number {
  return divUp(size, 2 ** (clusterBits + l2Bits))
}

/** A header for the file. */
export function headerBytes({ size, clusterBits, l2Bits, l1Offset, name }: Header): Uint8Array {
  const bytes = new Uint8Array(headerSize)
  const view = new DataView(bytes.buffer)
  view.setUint32(Field.magic, magic)
  view.setUint32(Field.version, 1)
  view.setBigUint64(Field.backingOffset, BigInt(name?.offset ?? 0))
  view.setUint32(Field.backingLength, name?.length ?? 0)
  view.setBigUint64(Field.size, BigInt(size))
  view.setUint8(Field.clusterBits, clusterBits)
  view.setUint8(Field.l2Bits, l2Bits)
  view.setBigUint64(Field.l1Offset, BigInt(l1Offset))
  return bytes
}
