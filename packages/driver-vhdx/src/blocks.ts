/** The table of blocks, for the functions that move data. Its entries stand in groups, one for each sector bitmap. */
import { alignUp, type ChildHandle, divUp } from '@diskgraph/core/driver'
import {
  Place,
  type TableFile,
  type TablePage,
  TailSpace,
  type TakenClusters,
  type TwoLevelFormat,
} from '@diskgraph/sparse'
import { entrySize, State, unit } from './layout.ts'
import type { LogWriter } from './log-writer.ts'
import type { Disk } from './regions.ts'

/** What the table is made from. */
interface BlockParts {
  readonly storage: ChildHandle
  /** The same with the changes of a log that was not replayed. */
  readonly tables: TableFile
  readonly disk: Disk
  /** Bytes of the file; more than it has where the log says so. */
  readonly end: number
  readonly log: LogWriter
}

/** See the top of this file. */
export class Blocks implements TwoLevelFormat {
  readonly file: TableFile
  readonly clusterSize: number
  readonly entrySize = entrySize
  readonly littleEndian = true
  readonly rootOffset = 0
  readonly rootEntries: number
  readonly fixedTables: { at(number: number): number; readonly end: number }
  readonly tableEntries: number
  readonly zeroEntry = State.zero
  readonly #storage: ChildHandle
  readonly #log: LogWriter
  readonly #hasParent: boolean
  readonly #space: TailSpace
  /** What stands from here on is damage: it is behind the end of the file, as it was opened. */
  #limit: number

  constructor({ storage, tables, disk, end, log }: BlockParts) {
    const { bat, blockSize, chunkRatio, size } = disk
    this.file = tables
    this.clusterSize = blockSize
    this.tableEntries = chunkRatio
    this.rootEntries = divUp(divUp(size, blockSize), chunkRatio)
    this.fixedTables = {
      at: (number) => bat.offset + number * (chunkRatio + 1) * entrySize,
      end: bat.offset + bat.length,
    }
    this.#storage = storage
    this.#log = log
    this.#hasParent = disk.parent !== undefined
    this.#limit = end
    this.#space = new TailSpace(alignUp(end, unit), blockSize)
  }

  unallocatedIsZero = (): boolean => !this.#hasParent

  tableOf = (): number => Place.damaged

  placeOf = (high: number, low: number): number => {
    const state = low & 7
    if (state === State.absent) return Place.unallocated
    if (state === State.zero || state === State.unmapped || state === State.undefined) return Place.zero
    const host = hostOf(high, low)
    if (host < unit || host + this.clusterSize > this.#limit) return Place.damaged
    if (state === State.present) return host
    // Some sectors are of the image below: which ones is not the engine's to know.
    return state === State.partial && this.#hasParent ? Place.compressed : Place.damaged
  }

  entryOf(host: number): number {
    return host + State.present
  }

  take(clusters: number): TakenClusters {
    const taken = this.#space.take(clusters)
    this.#limit = Math.max(this.#limit, this.#space.end)
    return taken
  }

  /** Never called: all tables are there. */
  takeTable(): number {
    throw new Error('the table of blocks has no tables to be taken')
  }

  giveBack(taken: TakenClusters): void {
    this.#space.giveBack(taken)
  }

  /** The file has whole blocks before something points to them. */
  async beforeTables(): Promise<void> {
    const { end } = this.#space
    if (this.#storage.size < end) await this.#storage.truncate(end, { exact: false })
  }

  writeTables(pages: readonly TablePage[]): Promise<void> {
    return this.#log.write(pages)
  }
}

/** Where the block of an entry stands. */
export function hostOf(high: number, low: number): number {
  return high * 2 ** 32 + Math.floor(low / unit) * unit
}
