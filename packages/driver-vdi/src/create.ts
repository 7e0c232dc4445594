/** Making a new image: the map and the data first, the header last. */
import { alignUp, type CreateContext, type Measurement, type MeasureRequest } from '@diskgraph/core/driver'
import { neededClusters } from '@diskgraph/sparse'
import { newHeader, tooLarge } from './header.ts'
import { blockSize, Entry, entrySize, headerSize, maxSize, sectorSize } from './layout.ts'
import type { VdiCreateOptions } from './options.ts'

/** Entries of the map are written in pieces of so many bytes. */
const pieceSize = 2 ** 20

/** Throws for sizes that the format has no room for. */
export function checkSize(size: number): number {
  const whole = alignUp(size, sectorSize)
  if (whole > maxSize) throw tooLarge(BigInt(whole))
  return whole
}

/** Writes a new image into `children.file`. */
export async function create(context: CreateContext<Omit<VdiCreateOptions, 'file'>>): Promise<void> {
  const size = checkSize(context.options.size)
  const isStatic = context.options.static === true
  const file = context.children.require('file')
  if (file.size > 0) await file.truncate(0).catch(() => {})
  const random = Uint8Array.from({ length: 32 }, () => Math.floor(context.random() * 256))
  const header = newHeader(size, isStatic, random)
  const bytes = header.dataOffset - headerSize
  for (let at = 0; at < bytes; at += pieceSize) {
    const piece = new Uint8Array(Math.min(pieceSize, bytes - at))
    fillMap(piece, at / entrySize, header.blocks, isStatic)
    await file.write(header.bmapOffset + at, piece)
  }
  if (isStatic) await file.truncate(header.dataOffset + header.blocks * blockSize, { exact: false })
  await file.write(0, header.bytes)
}

/** Fills in the entries of a piece of the map, whose first one has the number `first`. */
function fillMap(piece: Uint8Array, first: number, blocks: number, isStatic: boolean): void {
  const view = new DataView(piece.buffer)
  const count = Math.min(piece.length / entrySize, blocks - first)
  for (let i = 0; i < count; i++) view.setUint32(i * entrySize, isStatic ? first + i : Entry.unallocated, true)
}

/** Header, map, and the blocks that the content needs. */
export async function measure(request: MeasureRequest): Promise<Measurement> {
  const size = checkSize(Math.max(request.size, 0))
  const blocks = Math.ceil(size / blockSize)
  const metadata = headerSize + alignUp(blocks * entrySize, sectorSize)
  const fullyAllocated = metadata + blocks * blockSize
  if (request.options.static === true) return { required: fullyAllocated, fullyAllocated }
  let required = metadata
  for await (const { start, end } of neededClusters(request.extents, blockSize)) required += end - start
  return { required, fullyAllocated }
}
