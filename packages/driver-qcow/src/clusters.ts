/** Where tables and data of an image stand, for the functions that move data. Clusters are taken at the end of the file. */
import { alignUp, type ChildHandle } from '@diskgraph/core/driver'
import { Place, TailSpace, type TakenClusters, type TwoLevelFormat } from '@diskgraph/sparse'
import { entrySize, type Header, headerSize, l1Entries } from './header.ts'

/** See the top of this file. */
export class Clusters implements TwoLevelFormat {
  readonly file: ChildHandle
  readonly clusterSize: number
  readonly entrySize = entrySize
  readonly littleEndian = false
  readonly rootOffset: number
  readonly rootEntries: number
  readonly tableEntries: number
  readonly unallocatedIsZero: () => boolean
  readonly #space: TailSpace
  /** What stands from here on is damage: it is behind the end of the file, as it was opened. */
  #limit: number
  #fill: (work: () => Promise<void>) => Promise<void> = (work) => work()

  constructor(file: ChildHandle, header: Header, unallocatedIsZero: () => boolean) {
    this.file = file
    this.clusterSize = 2 ** header.clusterBits
    this.rootOffset = header.l1Offset
    this.rootEntries = l1Entries(header)
    this.tableEntries = 2 ** header.l2Bits
    this.unallocatedIsZero = unallocatedIsZero
    this.#limit = file.size
    this.#space = new TailSpace(alignUp(file.size, this.clusterSize), this.clusterSize)
  }

  /** `whileNoneIsTaken` of the map that stands on this. */
  fillWith(fill: (work: () => Promise<void>) => Promise<void>): void {
    this.#fill = fill
  }

  tableOf = (high: number, low: number): number => {
    const host = high * 2 ** 32 + low
    if (host === 0) return Place.unallocated
    return host >= headerSize && host + this.tableEntries * entrySize <= this.#limit ? host : Place.damaged
  }

  placeOf = (high: number, low: number): number => {
    if (high >= 2 ** 31) return Place.compressed
    const host = high * 2 ** 32 + low
    if (host === 0) return Place.unallocated
    return host >= headerSize && host < this.#limit ? host : Place.damaged
  }

  entryOf(host: number): number {
    return host
  }

  take(clusters: number): TakenClusters {
    const taken = this.#space.take(clusters)
    this.#limit = Math.max(this.#limit, this.#space.end)
    return taken
  }

  takeTable(): number {
    const host = this.#space.end
    this.#space.end += alignUp(this.tableEntries * entrySize, this.clusterSize)
    this.#limit = Math.max(this.#limit, this.#space.end)
    return host
  }

  giveBack(taken: TakenClusters): void {
    this.#space.giveBack(taken)
  }

  /** The file has whole clusters before something points to them. */
  beforeTables = (): Promise<void> =>
    this.#fill(async () => {
      const { end } = this.#space
      if (this.file.size < end) await this.file.truncate(end, { exact: false })
    })
}
