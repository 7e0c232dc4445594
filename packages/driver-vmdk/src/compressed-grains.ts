/**
 * Grains of stream-optimized extents. Each is compressed by itself, and begins with a marker: its sector on the disk, and
 * the length of the data. A grain is written whole, and once.
 */

import { type CompressedData, InflatedClusters, type TaskPool, wholeCluster } from '@diskgraph/clusters'
import { zlib } from '@diskgraph/codecs'
import { alignUp, BlockError, type ChildHandle, divUp, isAligned, throwIfAborted } from '@diskgraph/core/driver'
import type { TwoLevelMap } from '@diskgraph/sparse'
import type { Grains } from './grains.ts'
import type { Header } from './header.ts'
import { markerSize, sectorSize } from './layout.ts'

/** What is needed of an extent. */
interface CompressedParts {
  readonly grains: Grains
  readonly map: TwoLevelMap
  readonly header: Header
  /** Bytes of the disk. */
  readonly size: number
}

/** So much is read at once; most grains are not longer. */
const firstRead = 64 * 1024 + sectorSize

/** See the top of this file. */
export class CompressedGrains implements CompressedData {
  readonly #parts: CompressedParts
  readonly #file: ChildHandle
  readonly #inflated: InflatedClusters

  constructor(parts: CompressedParts) {
    this.#parts = parts
    this.#file = parts.grains.file
    this.#inflated = new InflatedClusters(parts.header.grainSize)
  }

  read(offset: number, buf: Uint8Array, pool: TaskPool, signal: AbortSignal | undefined): number {
    const { grainSize } = this.#parts.header
    const start = Math.floor(offset / grainSize) * grainSize
    const skip = offset - start
    const length = Math.min(grainSize - skip, buf.length)
    const host = this.#parts.map.entryAt(offset).low * sectorSize
    const target = buf.subarray(0, length)
    const grain = this.#inflated.get(host, signal, (all) => this.#inflate(start, host, all))
    pool.add(grain.then((bytes) => target.set(bytes.subarray(skip, skip + length))))
    return length
  }

  async #inflate(start: number, host: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const { grainSize } = this.#parts.header
    const most = Math.min(2 * grainSize + markerSize, this.#file.size - host)
    let bytes = new Uint8Array(Math.min(firstRead, most))
    await this.#file.read(host, bytes, 0, signal)
    let data = bytes
    if (this.#parts.header.markers) {
      const view = new DataView(bytes.buffer)
      const length = bytes.length < markerSize ? 0 : view.getUint32(8, true)
      if (length === 0 || length > most - markerSize || view.getBigUint64(0, true) !== BigInt(start / sectorSize)) {
        throw damaged(start)
      }
      if (markerSize + length > bytes.length) {
        bytes = new Uint8Array(markerSize + length)
        await this.#file.read(host, bytes, 0, signal)
      }
      data = bytes.subarray(markerSize, markerSize + length)
    }
    const inflated = await zlib.inflate(data, grainSize).catch((cause) => {
      throw damaged(start, cause)
    })
    // The last grain may end with the disk.
    if (start + inflated.length < Math.min(start + grainSize, this.#parts.size)) throw damaged(start)
    return wholeCluster(inflated, grainSize)
  }

  /** Writes whole grains; the last may end with the disk. EINVAL for parts of grains, EIO where data stands already. */
  async write(offset: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const { header, size } = this.#parts
    const end = offset + buf.length
    if (!isAligned(offset, header.grainSize) || (!isAligned(end, header.grainSize) && end !== size)) {
      throw new BlockError('EINVAL', `grains of ${header.grainSize} bytes are written whole to streamOptimized`)
    }
    for (let at = 0; at < buf.length; at += header.grainSize) {
      throwIfAborted(signal)
      await this.#writeOne(offset + at, buf.subarray(at, at + header.grainSize), signal)
    }
  }

  async #writeOne(start: number, data: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const { map, header, grains } = this.#parts
    const { grainSize } = header
    const deflated = await zlib.deflate(wholeCluster(data, grainSize))
    const bytes = new Uint8Array(alignUp(markerSize + deflated.length, sectorSize))
    const view = new DataView(bytes.buffer)
    view.setBigUint64(0, BigInt(start / sectorSize), true)
    view.setUint32(8, deflated.length, true)
    bytes.set(deflated, markerSize)
    await map.storeOnce(start, 'Could not write to allocated cluster for streamOptimized', async (allocation) => {
      const { host, clusters } = grains.take(divUp(bytes.length, sectorSize))
      await this.#file.write(host, bytes, 0, signal)
      const linked = { allocation, offset: start, length: grainSize, host, clusters: 1, reused: false }
      await map.link(linked).catch((error) => {
        grains.giveBack({ host, clusters })
        throw error
      })
    })
  }
}

function damaged(start: number, cause?: unknown): BlockError {
  return new BlockError('EIO', `the compressed grain of offset ${start} is damaged`, { cause })
}
