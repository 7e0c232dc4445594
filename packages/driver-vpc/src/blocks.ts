/** The table of a dynamic image and its blocks, each with a bitmap before its data. */
import { BlockError, type ChildHandle } from '@diskgraph/core/driver'
import { type EntryTable, Place, type TableFormat, TailSpace, type TakenClusters } from '@diskgraph/sparse'
import { bitmapSizeOf, sectorSize, unallocated } from './layout.ts'

/** See the top of this file. */
export class Blocks implements TableFormat {
  readonly clusterSize: number
  readonly file: ChildHandle
  readonly table: EntryTable
  readonly bitmapSize: number
  /** Blocks whose bitmaps are to be written, by the offset of their data. */
  fresh: number[] = []
  readonly #start: number
  readonly #space: TailSpace

  /** `start`: where the first block may stand. EINVAL when a block ends behind the end of the file. */
  constructor(file: ChildHandle, table: EntryTable, start: number, blockSize: number) {
    this.clusterSize = blockSize
    this.file = file
    this.table = table
    this.bitmapSize = bitmapSizeOf(blockSize)
    this.#start = start
    let end = start
    for (let index = 0; index < table.entries; index++) {
      const entry = table.get(index)
      if (entry !== unallocated) end = Math.max(end, entry * sectorSize + this.bitmapSize + blockSize)
    }
    if (end > file.size) {
      throw new BlockError(
        'EINVAL',
        'block-vpc: free_data_block_offset points after the end of file. The image has been truncated.',
      )
    }
    this.#space = new TailSpace(end, this.bitmapSize + blockSize)
  }

  /** Behind the last block: where the footer stands. */
  get end(): number {
    return this.#space.end
  }

  placeOf(entry: number): number {
    if (entry === unallocated) return Place.zero
    return entry * sectorSize < this.#start ? Place.damaged : entry * sectorSize + this.bitmapSize
  }

  entryOf(host: number): number {
    return (host - this.bitmapSize) / sectorSize
  }

  /** One: data of two blocks never stands in a row. */
  take(): TakenClusters {
    const { host } = this.#space.take(1)
    this.fresh.push(host + this.bitmapSize)
    return { host: host + this.bitmapSize, clusters: 1 }
  }

  giveBack({ host }: TakenClusters): void {
    this.fresh = this.fresh.filter((one) => one !== host)
    this.#space.giveBack({ host: host - this.bitmapSize, clusters: 1 })
  }
}
