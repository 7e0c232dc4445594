/**
 * Blocks of a differencing image, of which some sectors may be those of the image below: one bit of the bitmap before the
 * data says of each. Before its first write here a block is made whole: the missing sectors are copied into it and flushed, and
 * then all bits are set. A crash in between leaves the block as it was.
 */
import type { CompressedData, TaskPool } from '@diskgraph/clusters'
import { type ChildHandle, done } from '@diskgraph/core/driver'
import type { EntryTable } from '@diskgraph/sparse'
import type { Blocks } from './blocks.ts'
import { sectorSize } from './layout.ts'

interface PartialParts {
  readonly file: ChildHandle
  readonly table: EntryTable
  readonly blocks: Blocks
  readonly size: number
  backing(): ChildHandle | undefined
}

const piece = 2 ** 20

/** See the top of this file. */
export class PartialBlocks implements CompressedData {
  readonly #parts: PartialParts
  readonly #completing = new Map<number, Promise<void>>()

  constructor(parts: PartialParts) {
    this.#parts = parts
  }

  read(offset: number, buf: Uint8Array, pool: TaskPool, signal: AbortSignal | undefined): number {
    const { clusterSize } = this.#parts.blocks
    const length = Math.min(clusterSize - (offset % clusterSize), buf.length)
    pool.add(this.#readSectors(offset, buf.subarray(0, length), signal))
    return length
  }

  /** Makes the blocks of a range whole that are not known to be; undefined: there are none. */
  complete(offset: number, length: number): Promise<void> | undefined {
    const { clusterSize } = this.#parts.blocks
    const first = Math.floor(offset / clusterSize)
    const last = Math.floor((offset + length - 1) / clusterSize)
    for (let index = first; index <= last; index++) if (this.#mayBePartial(index)) return this.#completeAll(index, last)
    return undefined
  }

  #mayBePartial(index: number): boolean {
    const { blocks, table } = this.#parts
    return blocks.mayBePartial(table.get(index))
  }

  async #completeAll(first: number, last: number): Promise<void> {
    for (let index = first; index <= last; index++) {
      if (!this.#mayBePartial(index)) continue
      let completing = this.#completing.get(index)
      if (completing === undefined) {
        completing = this.#completeOne(index).finally(() => this.#completing.delete(index))
        this.#completing.set(index, completing)
      }
      await completing
    }
  }

  async #completeOne(index: number): Promise<void> {
    const { blocks, table, file, size } = this.#parts
    const { bitmapSize, clusterSize } = blocks
    const entry = table.get(index)
    const host = entry * sectorSize + bitmapSize
    const bits = new Uint8Array(bitmapSize)
    await file.read(host - bitmapSize, bits)
    const start = index * clusterSize
    const sectors = Math.min(clusterSize, size - start) / sectorSize
    let filled = false
    for (let sector = 0; sector < sectors; ) {
      const own = isSet(bits, sector)
      let end = sector + 1
      while (end < sectors && isSet(bits, end) === own) end++
      for (let at = sector * sectorSize; !own && at < end * sectorSize; at += piece) {
        const buf = new Uint8Array(Math.min(piece, end * sectorSize - at))
        await this.#readBelow(start + at, buf, undefined)
        await file.write(host + at, buf)
        filled = true
      }
      sector = end
    }
    if (filled) {
      await file.flush()
      await file.write(host - bitmapSize, bits.fill(0xff))
    }
    blocks.isWhole(entry)
  }

  async #readSectors(offset: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const { blocks, table, file } = this.#parts
    const { bitmapSize, clusterSize } = blocks
    const index = Math.floor(offset / clusterSize)
    const host = table.get(index) * sectorSize + bitmapSize
    const skip = offset - index * clusterSize
    const firstByte = Math.floor(skip / sectorSize / 8)
    const bits = new Uint8Array(Math.floor((skip + buf.length - 1) / sectorSize / 8) - firstByte + 1)
    await file.read(host - bitmapSize + firstByte, bits)
    const own = (sector: number): boolean => isSet(bits, sector - 8 * firstByte)
    for (let at = 0; at < buf.length; ) {
      const sector = Math.floor((skip + at) / sectorSize)
      let next = sector + 1
      while (next * sectorSize < skip + buf.length && own(next) === own(sector)) next++
      const end = Math.min(buf.length, next * sectorSize - skip)
      const part = buf.subarray(at, end)
      await (own(sector) ? file.read(host + skip + at, part, 0, signal) : this.#readBelow(offset + at, part, signal))
      at = end
    }
  }

  #readBelow(offset: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const backing = this.#parts.backing()
    if (backing !== undefined) return backing.read(offset, buf, 0, signal)
    buf.fill(0)
    return done
  }
}

/** The first sector has the highest bit of the first byte. */
function isSet(bits: Uint8Array, sector: number): boolean {
  return (((bits[sector >> 3] as number) >> (7 - (sector & 7))) & 1) === 1
}
