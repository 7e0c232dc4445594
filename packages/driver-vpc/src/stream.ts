/** A new image in one go, for targets that cannot seek: which blocks have data is found out first. */
import { divUp, type StreamRequest, throwIfAborted } from '@diskgraph/core/driver'
import { neededClusters } from '@diskgraph/sparse'
import { checkSettings, markOf, shapeOf } from './create.ts'
import { bitmapSizeOf, DiskType, entrySize, footerSize, headerSize, newBlockSize, sectorSize } from './layout.ts'
import { newFooter, newHeader, tableSize } from './structures.ts'

const piece = 2 ** 20

/** The bytes of a new image; undefined for a differencing one. */
export function streamImage(request: StreamRequest): AsyncIterable<Uint8Array> | undefined {
  const { options } = request
  checkSettings(options)
  if (options.backingFile !== undefined) return undefined
  const { size, geometry, exact, isFixed } = shapeOf(options)
  const type = isFixed ? DiskType.fixed : DiskType.dynamic
  const footer = newFooter({ size, geometry, type, exact, ...markOf(request) })
  return isFixed ? writeFixed(request, size, footer) : writeDynamic(request, size, footer)
}

async function* writeFixed(request: StreamRequest, size: number, footer: Uint8Array): AsyncGenerator<Uint8Array> {
  yield* contentOf(request, 0, size)
  yield footer
}

async function* writeDynamic(request: StreamRequest, size: number, footer: Uint8Array): AsyncGenerator<Uint8Array> {
  const entries = divUp(size, newBlockSize)
  const bytes = tableSize(entries)
  const table = new DataView(new ArrayBuffer(bytes))
  new Uint8Array(table.buffer).fill(0xff)
  const bitmap = new Uint8Array(bitmapSizeOf(newBlockSize)).fill(0xff)
  const blocks: number[] = []
  let offset = footerSize + headerSize + bytes
  for await (const { start, end } of neededClusters(request.extents(), newBlockSize)) {
    throwIfAborted(request.signal)
    for (let at = start; at < end; at += newBlockSize) {
      table.setUint32((at / newBlockSize) * entrySize, offset / sectorSize)
      offset += bitmap.length + newBlockSize
      blocks.push(at)
    }
  }
  yield footer
  yield newHeader(entries, newBlockSize, footerSize + headerSize)
  yield new Uint8Array(table.buffer)
  for (const start of blocks) {
    yield bitmap
    yield* contentOf(request, start, start + newBlockSize)
  }
  yield footer
}

async function* contentOf({ read, signal }: StreamRequest, start: number, end: number): AsyncGenerator<Uint8Array> {
  const buf = new Uint8Array(piece)
  for (let at = start; at < end; at += piece) {
    throwIfAborted(signal)
    const part = buf.subarray(0, Math.min(piece, end - at))
    await read(at, part)
    yield part
  }
}
