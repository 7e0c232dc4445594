/** Blocks of which some sectors are those of the image below: one bit of the sector bitmap says of each. */

import type { CompressedData, TaskPool } from '@diskgraph/clusters'
import { BlockError, type ChildHandle, done } from '@diskgraph/core/driver'
import type { TableFile, TwoLevelMap } from '@diskgraph/sparse'
import { hostOf } from './blocks.ts'
import { entrySize, State, unit } from './layout.ts'
import type { Disk } from './regions.ts'

interface PartialParts {
  readonly storage: ChildHandle
  readonly tables: TableFile
  readonly map: TwoLevelMap
  readonly disk: Disk
  readonly backing: () => ChildHandle | undefined
}

/** See the top of this file. */
export class PartialBlocks implements CompressedData {
  readonly #parts: PartialParts

  constructor(parts: PartialParts) {
    this.#parts = parts
  }

  read(offset: number, buf: Uint8Array, pool: TaskPool, signal: AbortSignal | undefined): number {
    const { blockSize } = this.#parts.disk
    const skip = offset % blockSize
    const length = Math.min(blockSize - skip, buf.length)
    const { high, low } = this.#parts.map.entryAt(offset)
    pool.add(this.#readSectors(offset, hostOf(high, low) + skip, buf.subarray(0, length), signal))
    return length
  }

  async #readSectors(offset: number, host: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const { sectorSize } = this.#parts.disk
    const first = Math.floor(offset / sectorSize)
    const bits = await this.#bitsFrom(first, Math.floor((offset + buf.length - 1) / sectorSize))
    const own = (sector: number): boolean => {
      const bit = (first % 8) + sector - first
      return (((bits[bit >> 3] as number) >> (bit & 7)) & 1) === 1
    }
    for (let at = 0; at < buf.length; ) {
      const sector = Math.floor((offset + at) / sectorSize)
      let next = sector + 1
      while (next * sectorSize < offset + buf.length && own(next) === own(sector)) next++
      const end = Math.min(buf.length, next * sectorSize - offset)
      const piece = buf.subarray(at, end)
      await (own(sector)
        ? this.#parts.storage.read(host + at, piece, 0, signal)
        : this.#readBelow(offset + at, piece, signal))
      at = end
    }
  }

  #readBelow(offset: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const backing = this.#parts.backing()
    if (backing !== undefined) return backing.read(offset, buf, 0, signal)
    buf.fill(0)
    return done
  }

  /** The bytes of the bitmap with the bits of two sectors and all between; they are of one block. */
  async #bitsFrom(first: number, last: number): Promise<Uint8Array> {
    const { tables, storage, disk } = this.#parts
    const perChunk = (disk.chunkRatio * disk.blockSize) / disk.sectorSize
    const chunk = Math.floor(first / perChunk)
    const entry = new Uint8Array(entrySize)
    await tables.read(disk.bat.offset + ((chunk + 1) * (disk.chunkRatio + 1) - 1) * entrySize, entry)
    const view = new DataView(entry.buffer)
    const [low, high] = [view.getUint32(0, true), view.getUint32(4, true)]
    const host = hostOf(high, low)
    if ((low & 7) !== State.present || host < unit || host + unit > storage.size) {
      throw new BlockError('EIO', `the bitmap of the sectors from ${chunk * perChunk} on is missing`)
    }
    const start = Math.floor((first % perChunk) / 8)
    const bits = new Uint8Array(Math.floor((last % perChunk) / 8) - start + 1)
    await tables.read(host + start, bits)
    return bits
  }
}
