/** Where the chunks of a disk stand: those of all tables, in the order of their sectors. */
import { BlockError } from '@diskgraph/core/driver'
import { Chunk, Kind, largestChunk, sectorSize, Table } from './layout.ts'

/** A chunk. Offsets and lengths are bytes. */
export interface DiskChunk {
  readonly kind: number
  /** On the disk. */
  readonly start: number
  readonly size: number
  /** In the file. */
  readonly offset: number
  readonly length: number
}

const signature = 0x6d697368

/**
 * The chunks of `tables`, whose data lies in a file of `fileSize` bytes from `dataForkOffset` on. EINVAL for tables that
 * say what cannot be: data behind the end of the file, chunks that overlap, or are too large.
 */
export function chunksOf(tables: readonly Uint8Array[], dataForkOffset: bigint, fileSize: number): DiskChunk[] {
  const chunks = tables.flatMap((table) => chunksOfTable(table, dataForkOffset, BigInt(fileSize)))
  chunks.sort((a, b) => a.start - b.start)
  let end = 0
  for (const chunk of chunks) {
    if (chunk.start < end) throw new BlockError('EINVAL', `two chunks hold the sector ${chunk.start / sectorSize}`)
    end = chunk.start + chunk.size
  }
  return chunks
}

function chunksOfTable(bytes: Uint8Array, dataForkOffset: bigint, fileSize: bigint): DiskChunk[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < Table.chunks || view.getUint32(0) !== signature) {
    throw new BlockError('EINVAL', "a table of chunks does not begin with 'mish'")
  }
  const count = view.getUint32(Table.chunkCount)
  if (Table.chunks + count * Chunk.size > bytes.length) {
    throw new BlockError('EINVAL', `a table of ${count} chunks has ${bytes.length} bytes, which is too few`)
  }
  const first = view.getBigUint64(Table.firstSector)
  const data = dataForkOffset + view.getBigUint64(Table.dataOffset)
  const chunks: DiskChunk[] = []
  for (let i = 0; i < count; i++) {
    const at = Table.chunks + i * Chunk.size
    const kind = view.getUint32(at + Chunk.kind)
    if (kind === Kind.end) break
    const sectors = view.getBigUint64(at + Chunk.sectors)
    if (kind === Kind.comment || sectors === 0n) continue
    const start = (first + view.getBigUint64(at + Chunk.sector)) * BigInt(sectorSize)
    const size = sectors * BigInt(sectorSize)
    const offset = data + view.getBigUint64(at + Chunk.offset)
    const length = view.getBigUint64(at + Chunk.length)
    if (start + size > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw new BlockError('EINVAL', `sector count ${sectors} for chunk ${i} is too large`)
    }
    if (hasData(kind)) checkData(kind, i, size, length)
    if (hasData(kind) && offset + length > fileSize) {
      throw new BlockError('EINVAL', `chunk ${i} ends at ${offset + length}, behind the end of the file (${fileSize})`)
    }
    chunks.push({ kind, start: Number(start), size: Number(size), offset: Number(offset), length: Number(length) })
  }
  return chunks
}

/** Whether a chunk of that kind has bytes in the file. */
export function hasData(kind: number): boolean {
  return kind !== Kind.zero && kind !== Kind.ignored
}

function checkData(kind: number, index: number, size: bigint, length: bigint): void {
  if (kind === Kind.raw) {
    if (size === length) return
    throw new BlockError('EINVAL', `chunk ${index} is not compressed, and has ${length} bytes for ${size} of the disk`)
  }
  for (const bytes of [size, length]) {
    if (bytes <= BigInt(largestChunk)) continue
    throw new BlockError('EINVAL', `${bytes} bytes for chunk ${index} is larger than max (${largestChunk})`)
  }
}

/** The chunk that holds `offset` of the disk. EIO where none does. */
export function chunkAt(chunks: readonly DiskChunk[], offset: number): number {
  let low = 0
  let high = chunks.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((chunks[middle] as DiskChunk).start <= offset) low = middle + 1
    else high = middle
  }
  const chunk = chunks[low - 1]
  if (chunk !== undefined && offset < chunk.start + chunk.size) return low - 1
  throw new BlockError('EIO', `no chunk of the image holds sector ${Math.floor(offset / sectorSize)}`)
}
