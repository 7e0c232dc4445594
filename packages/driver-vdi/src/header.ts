/** The header of a VDI image: checked when it is read, with QEMU's words. */
import { alignUp, BlockError, isAligned } from '@diskgraph/core/driver'
import {
  blockSize,
  Field,
  headerSize,
  headerTail,
  ImageType,
  maxBlocks,
  maxSize,
  sectorSize,
  signature,
  version,
} from './layout.ts'

/** The fields that this driver works with, and all bytes, so that those which it does not know stay as they are. */
export class Header {
  readonly bytes: Uint8Array
  readonly #view: DataView

  /** `bytes`: the first 512 of the file; they belong to the header from now on. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.#view = viewOf(bytes)
  }

  get bmapOffset(): number {
    return this.u32(Field.bmapOffset)
  }

  get dataOffset(): number {
    return this.u32(Field.dataOffset)
  }

  /** Virtual size in bytes, as it is written; infinite above 2^53 - 1. */
  get diskSize(): number {
    const value = this.u64(Field.diskSize)
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(value)
  }

  set diskSize(size: number) {
    this.#view.setBigUint64(Field.diskSize, BigInt(size), true)
  }

  /** Blocks of the disk: entries of the map. */
  get blocks(): number {
    return this.u32(Field.blocks)
  }

  set blocks(count: number) {
    this.#view.setUint32(Field.blocks, count, true)
  }

  /** The next block is taken at this place. */
  get blocksAllocated(): number {
    return this.u32(Field.blocksAllocated)
  }

  set blocksAllocated(count: number) {
    this.#view.setUint32(Field.blocksAllocated, count, true)
  }

  u32(field: number): number {
    return this.#view.getUint32(field, true)
  }

  u64(field: number): bigint {
    return this.#view.getBigUint64(field, true)
  }
}

/** Whether a file begins like a VDI image. */
export function hasSignature(head: Uint8Array): boolean {
  return head.length >= Field.version && viewOf(head).getUint32(Field.signature, true) === signature
}

/** Checks the first 512 bytes of a file. EMEDIUMTYPE where it is no VDI image, ENOTSUP for kinds that are not read. */
export function parseHeader(bytes: Uint8Array): Header {
  const header = new Header(bytes)
  const found = header.u32(Field.signature)
  if (found !== signature) {
    throw new BlockError('EINVAL', `Image not in VDI format (bad signature ${found.toString(16).padStart(8, '0')})`)
  }
  const { diskSize, bmapOffset, dataOffset, blocks } = header
  if (diskSize > maxSize) throw tooLarge(header.u64(Field.diskSize))
  const written = header.u32(Field.version)
  if (written !== version) {
    throw unsupported(`version ${Math.floor(written / 65536)}.${written - Math.floor(written / 65536) * 65536}`)
  }
  if (!isAligned(bmapOffset, sectorSize)) throw unsupported(`unaligned block map offset 0x${bmapOffset.toString(16)}`)
  if (!isAligned(dataOffset, sectorSize)) throw unsupported(`unaligned data offset 0x${dataOffset.toString(16)}`)
  const sector = header.u32(Field.sectorSize)
  if (sector !== sectorSize) throw unsupported(`sector size ${sector} is not ${sectorSize}`)
  const block = header.u32(Field.blockSize)
  if (block !== blockSize) throw unsupported(`block size ${block} is not ${blockSize}`)
  if (diskSize > blocks * blockSize) {
    throw unsupported(`disk size ${diskSize}, image bitmap has room for ${blocks * blockSize}`)
  }
  if (!isNull(bytes, Field.uuidLink)) throw unsupported('non-NULL link UUID')
  if (!isNull(bytes, Field.uuidParent)) throw unsupported('non-NULL parent UUID')
  if (blocks > maxBlocks) throw unsupported(`too many blocks ${blocks}, max is ${maxBlocks}`)
  return header
}

/** The header of a new image. `uuids`: 32 random bytes. */
export function newHeader(size: number, isStatic: boolean, uuids: Uint8Array): Header {
  const bytes = new Uint8Array(headerSize)
  const view = viewOf(bytes)
  const blocks = Math.ceil(size / blockSize)
  bytes.set(new TextEncoder().encode('<<< diskgraph VM Virtual Disk Image >>>\n'), Field.text)
  view.setUint32(Field.signature, signature, true)
  view.setUint32(Field.version, version, true)
  view.setUint32(Field.headerSize, headerTail, true)
  view.setUint32(Field.imageType, isStatic ? ImageType.static : ImageType.dynamic, true)
  view.setUint32(Field.bmapOffset, headerSize, true)
  view.setUint32(Field.dataOffset, headerSize + alignUp(blocks * 4, sectorSize), true)
  view.setUint32(Field.sectorSize, sectorSize, true)
  view.setUint32(Field.blockSize, blockSize, true)
  bytes.set(uuidOf(uuids.subarray(0, 16)), Field.uuid)
  bytes.set(uuidOf(uuids.subarray(16, 32)), Field.uuidSnapshot)
  const header = new Header(bytes)
  header.diskSize = size
  header.blocks = blocks
  header.blocksAllocated = isStatic ? blocks : 0
  return header
}

/** The error for a disk that the format has no room for. */
export function tooLarge(size: bigint): BlockError {
  return new BlockError(
    'ENOTSUP',
    `Unsupported VDI image size (size is 0x${size.toString(16)}, max supported is 0x${maxSize.toString(16)})`,
  )
}

function unsupported(what: string): BlockError {
  return new BlockError('ENOTSUP', `unsupported VDI image (${what})`)
}

function isNull(bytes: Uint8Array, uuid: number): boolean {
  return bytes.subarray(uuid, uuid + 16).every((byte) => byte === 0)
}

/** A random UUID, version 4; its first fields are little-endian in a VDI header. */
function uuidOf(random: Uint8Array): Uint8Array {
  const uuid = random.slice()
  uuid[7] = (uuid[7]! & 0x0f) | 0x40
  uuid[8] = (uuid[8]! & 0x3f) | 0x80
  return uuid
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
