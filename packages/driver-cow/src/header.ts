/**
 * The header of a COW image of version 2, big-endian. Sources: the description of the format in the documentation of
 * User-mode Linux, and QEMU's manual up to 2.1. Programs of 32 and of 64 bits put the size at different places.
 *
 *     header, with the name of the backing file   1056 bytes; of a program of 32 bits 1048
 *     bitmap   a bit for each sector that is here, the lowest of a byte first
 *     data     from the next multiple of 512 on, each sector at its place
 */
import { alignUp, BlockError, divUp } from '@diskgraph/core/driver'
import type { NamePlace } from '@diskgraph/sparse'

export const sectorSize = 512
const magic = 0x4f4f4f4d
const version = 2
const nameOffset = 8
/** With the zero byte at the end. */
const nameRoom = 1024

interface Layout {
  readonly size: number
  readonly sectorSize: number
  /** Bytes of the header. */
  readonly bytes: number
}

const layouts: { readonly wide: Layout; readonly narrow: Layout } = {
  wide: { size: 1040, sectorSize: 1048, bytes: 1056 },
  narrow: { size: 1036, sectorSize: 1044, bytes: 1048 },
}

export const headerBytes = layouts.wide.bytes
/** The bitmap is in memory. */
const largestBitmap = 2 ** 26
const largestSize = largestBitmap * 8 * sectorSize

/** What the fields say. Sizes and offsets are bytes. */
export interface Header {
  readonly size: number
  readonly bitmapOffset: number
  readonly dataOffset: number
  /** Where the name of the backing file stands. */
  readonly name: NamePlace
}

/** Whether a file begins like a COW image. */
export function hasMagic(head: Uint8Array): boolean {
  if (head.length < 8) return false
  const view = viewOf(head)
  return view.getUint32(0) === magic && view.getUint32(4) === version
}

/** Checks the fields, `bytes`. EINVAL where they are wrong, ENOTSUP for another version and too large a disk. */
export function parseHeader(bytes: Uint8Array): Header {
  const view = viewOf(bytes)
  if (view.getUint32(0) !== magic) throw new BlockError('EINVAL', 'Image not in cow format')
  if (view.getUint32(4) !== version) throw new BlockError('ENOTSUP', `Unsupported cow version: ${view.getUint32(4)}`)
  const layout = [layouts.wide, layouts.narrow].find((one) => view.getUint32(one.sectorSize) === sectorSize)
  if (layout === undefined) throw new BlockError('EINVAL', 'the sectors of the image have not 512 bytes')
  const size = view.getBigUint64(layout.size)
  if (size > BigInt(largestSize)) throw tooLarge(size)
  const end = bytes.indexOf(0, nameOffset)
  if (end < 0 || end >= nameOffset + nameRoom) {
    throw new BlockError('EINVAL', 'the name of the backing file does not end')
  }
  return {
    ...placesOf(Number(size), layout),
    size: alignUp(Number(size), sectorSize),
    name: { offset: nameOffset, length: end - nameOffset },
  }
}

function placesOf(size: number, { bytes }: Layout): { bitmapOffset: number; dataOffset: number } {
  const bitmap = divUp(divUp(size, sectorSize), 8)
  return { bitmapOffset: bytes, dataOffset: alignUp(bytes + bitmap, sectorSize) }
}

/** A header for the file, and how long it is with its bitmap. EINVAL for what the format has no room for. */
export function newHeader(wanted: number, backingFile: string): { bytes: Uint8Array; length: number } {
  const size = alignUp(wanted, sectorSize)
  if (size > largestSize) throw tooLarge(BigInt(size))
  const name = new TextEncoder().encode(backingFile)
  if (name.length >= nameRoom) throw new BlockError('EINVAL', 'Backing file name too long')
  const layout = layouts.wide
  const bytes = new Uint8Array(layout.bytes)
  const view = viewOf(bytes)
  view.setUint32(0, magic)
  view.setUint32(4, version)
  bytes.set(name, nameOffset)
  view.setBigUint64(layout.size, BigInt(size))
  view.setUint32(layout.sectorSize, sectorSize)
  return { bytes, length: placesOf(size, layout).dataOffset }
}

function tooLarge(size: bigint): BlockError {
  return new BlockError('ENOTSUP', `a disk of ${size} bytes is larger than this driver has, which is ${largestSize}`)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
