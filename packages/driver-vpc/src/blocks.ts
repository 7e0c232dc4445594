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
  /** Of a differencing image: entries of blocks whose sectors are all its own. */
  readonly #whole: Set<number> | undefined
  readonly #space: TailSpace

  /** `start`: where the first block may stand. EINVAL when a block ends behind the end of the file. */
  constructor(
    file: ChildHandle,
    table: EntryTable,
    { start, blockSize, differs }: { readonly start: number; readonly blockSize: number; readonly differs: boolean },
  ) {
    this.clusterSize = blockSize
    this.file = file
    this.table = table
    this.bitmapSize = bitmapSizeOf(blockSize)
    this.#start = start
    this.#whole = differs ? new Set() : undefined
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
    if (entry === unallocated) return this.#whole === undefined ? Place.zero : Place.unallocated
    if (entry * sectorSize < this.#start) return Place.damaged
    // Which sectors are of the image below is not the engine's to know.
    return this.mayBePartial(entry) ? Place.compressed : entry * sectorSize + this.bitmapSize
  }

  /** Whether some sectors of a block may be those of the image below. */
  mayBePartial(entry: number): boolean {
    if (this.#whole === undefined || entry === unallocated || entry * sectorSize < this.#start) return false
    return !this.#whole.has(entry)
  }

  /** All sectors of a block are its own from now on. */
  isWhole(entry: number): void {
    this.#whole?.add(entry)
  }

  entryOf(host: number): number {
    return (host - this.bitmapSize) / sectorSize
  }

  /** One: data of two blocks never stands in a row. */
  take(): TakenClusters {
    const { host } = this.#space.take(1)
    this.fresh.push(host + this.bitmapSize)
    this.#whole?.add(host / sectorSize)
    return { host: host + this.bitmapSize, clusters: 1 }
  }

  giveBack({ host }: TakenClusters): void {
    this.fresh = this.fresh.filter((one) => one !== host)
    this.#whole?.delete(this.entryOf(host))
    this.#space.giveBack({ host: host - this.bitmapSize, clusters: 1 })
  }
}
