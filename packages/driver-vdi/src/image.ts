/** An open VDI image. The order of writes is that of table formats: see EntryTable of @diskgraph/sparse. */

import { zeroRange } from '@diskgraph/clusters'
import {
  alignUp,
  BlockError,
  type CheckOptions,
  type ChildHandle,
  type DriverInfo,
  divUp,
  type ImageCheck,
  type TruncateOptions,
} from '@diskgraph/core/driver'
import { type EntryTable, SparseImage, TableMap } from '@diskgraph/sparse'
import { Blocks } from './blocks.ts'
import { type CheckedImage, checkImage, compact } from './check.ts'
import { type Header, tooLarge } from './header.ts'
import { blockSize, Entry, entrySize, headerSize, maxSize, sectorSize } from './layout.ts'

/** See the top of this file. */
export class VdiImage extends SparseImage implements CheckedImage {
  readonly file: ChildHandle
  readonly header: Header
  readonly table: EntryTable
  readonly blocks: Blocks
  /** The number of blocks as the header in the file has it. */
  #written: number
  readonly #map: TableMap

  constructor(file: ChildHandle, header: Header, table: EntryTable, readOnly: boolean) {
    const blocks = new Blocks(file, table, header.dataOffset)
    const map = new TableMap(blocks)
    super({ file, clusterSize: blockSize, size: () => alignUp(header.diskSize, sectorSize), readOnly, map })
    this.#map = map
    this.file = file
    this.header = header
    this.table = table
    this.blocks = blocks
    this.#written = header.blocksAllocated
  }

  flush(): Promise<void> {
    return this.table.flush(this.file, async () => {
      await this.#map.whileNoneIsTaken(async () => {
        const end = this.blocks.hostOf(this.blocks.end)
        if (this.file.size < end) await this.file.truncate(end, { exact: false })
      })
      if (this.#written !== this.blocks.end) await this.writeHeader()
    })
  }

  close(): Promise<void> {
    return this.data.readOnly ? Promise.resolve() : this.flush()
  }

  /** Writes the header, with the number of blocks as it is. */
  async writeHeader(): Promise<void> {
    const { end } = this.blocks
    this.header.blocksAllocated = end
    await this.file.write(0, this.header.bytes.slice())
    this.#written = end
  }

  /** Whether the header in the file tells how many blocks there are. */
  get countIsRight(): boolean {
    return this.#written === this.blocks.end
  }

  info(): Promise<DriverInfo> {
    return Promise.resolve(vdiInfo)
  }

  check(options: CheckOptions): Promise<ImageCheck> {
    return checkImage(this, options)
  }

  async truncate(size: number, options: TruncateOptions): Promise<void> {
    const { preallocation = 'off' } = options
    if (preallocation !== 'off') {
      throw new BlockError('ENOTSUP', `Unsupported preallocation mode '${preallocation}'`)
    }
    if (size > maxSize) throw tooLarge(BigInt(size))
    if (size < this.size) await this.#shrink(size)
    else await this.#grow(size)
  }

  async #grow(size: number): Promise<void> {
    const { header, table } = this
    const before = this.size
    const blocks = divUp(size, blockSize)
    const room = Math.floor((header.dataOffset - header.bmapOffset) / entrySize)
    if (blocks > room) {
      throw new BlockError('ENOTSUP', `cannot make the image larger: its block map has room for ${room} MiB`, {
        hint: 'convert it to a new image of that size',
      })
    }
    if (blocks > table.entries) table.resize(blocks, Entry.unallocated)
    await this.#setSize(size)
    const tail = Math.min(size, alignUp(before, blockSize)) - before
    if (tail > 0) await zeroRange(this.data, before, tail, 0)
  }

  /** Frees what stands behind the new end first, so that a crash shows the old disk or the new one. */
  async #shrink(size: number): Promise<void> {
    const { table } = this
    const kept = divUp(size, blockSize)
    for (let index = kept; index < table.entries; index++) table.set(index, Entry.unallocated)
    this.blocks.survey()
    await this.flush()
    table.resize(kept, Entry.unallocated)
    await this.#setSize(size)
    await compact(this)
  }

  /** The map is in the file before the header that counts its entries. */
  async #setSize(size: number): Promise<void> {
    const { header, table } = this
    await this.flush()
    await this.file.flush()
    const { diskSize, blocks } = header
    header.diskSize = size
    header.blocks = table.entries
    try {
      await this.file.write(0, header.bytes.slice(0, headerSize))
    } catch (error) {
      header.diskSize = diskSize
      header.blocks = blocks
      throw error
    }
  }
}

/** What `info` tells of every VDI image. */
export const vdiInfo: DriverInfo = { clusterSize: blockSize, dirty: false }
