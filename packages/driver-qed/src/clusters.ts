/** Where tables and data of an image stand, for the functions that move data. Clusters are taken at the end of the file. */
import { alignUp, type ChildHandle } from '@diskgraph/core/driver'
import { Place, TailSpace, type TakenClusters, type TwoLevelFormat } from '@diskgraph/sparse'
import { entrySize, type Header } from './header.ts'

/** The entry of a cluster that reads as zeroes. */
export const zeroEntry = 1

/** See the top of this file. */
export class Clusters implements TwoLevelFormat {
  readonly file: ChildHandle
  readonly clusterSize: number
  readonly entrySize = entrySize
  readonly littleEndian = true
  readonly rootOffset: number
  readonly rootEntries: number
  readonly tableEntries: number
  readonly zeroEntry = zeroEntry
  readonly unallocatedIsZero: () => boolean
  readonly #tableBytes: number
  readonly #start: number
  #space: TailSpace
  /** What stands from here on is damage: it is behind the end of the file, as it was opened. */
  #limit: number

  constructor(file: ChildHandle, header: Header, unallocatedIsZero: () => boolean) {
    this.file = file
    this.clusterSize = header.clusterSize
    this.rootOffset = header.rootOffset
    this.rootEntries = header.tableBytes / entrySize
    this.tableEntries = this.rootEntries
    this.unallocatedIsZero = unallocatedIsZero
    this.#tableBytes = header.tableBytes
    this.#start = header.headerClusters * header.clusterSize
    this.#limit = file.size
    this.#space = new TailSpace(alignUp(file.size, header.clusterSize), header.clusterSize)
  }

  /** Behind the last cluster. */
  get end(): number {
    return this.#space.end
  }

  tableOf = (high: number, low: number): number => {
    const host = this.#hostOf(high, low)
    return host === Place.unallocated || this.isTable(host) ? host : Place.damaged
  }

  placeOf = (high: number, low: number): number => {
    if (high === 0 && low === zeroEntry) return Place.zero
    const host = this.#hostOf(high, low)
    return host === Place.unallocated || this.isCluster(host) ? host : Place.damaged
  }

  #hostOf(high: number, low: number): number {
    return high === 0 && low === 0 ? Place.unallocated : high * 2 ** 32 + low
  }

  /** Whether a cluster of data can stand there. */
  isCluster(host: number): boolean {
    return host % this.clusterSize === 0 && host >= this.#start && host < this.#limit && !this.#isRoot(host)
  }

  /** Whether a table can stand there, all of it. */
  isTable(host: number): boolean {
    return this.isCluster(host) && host + this.#tableBytes <= this.#limit
  }

  #isRoot(host: number): boolean {
    return host + this.clusterSize > this.rootOffset && host < this.rootOffset + this.#tableBytes
  }

  entryOf(host: number): number {
    return host
  }

  take(clusters: number): TakenClusters {
    const taken = this.#space.take(clusters)
    this.#limit = Math.max(this.#limit, this.end)
    return taken
  }

  takeTable(): number {
    // Of clusters that were given back, no two need stand in a row.
    const host = this.end
    this.#space.end += this.#tableBytes
    this.#limit = Math.max(this.#limit, this.end)
    return host
  }

  giveBack(taken: TakenClusters): void {
    this.#space.giveBack(taken)
  }

  /** The file has whole clusters before something points to them. */
  async beforeTables(): Promise<void> {
    if (this.file.size < this.end) await this.file.truncate(this.end, { exact: false })
  }

  /** The file was cut or repaired: what is taken next goes behind its end. */
  restart(): void {
    this.#limit = this.file.size
    this.#space = new TailSpace(alignUp(this.file.size, this.clusterSize), this.clusterSize)
  }
}
