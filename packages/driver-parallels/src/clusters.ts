/** The table of an image and its clusters, for the functions that move data. */
import { alignUp, type ChildHandle } from '@diskgraph/core/driver'
import { type EntryTable, Place, type TableFormat, TailSpace, type TakenClusters } from '@diskgraph/sparse'
import { entrySize, type Header, headerSize } from './header.ts'

/** See the top of this file. */
export class Clusters implements TableFormat {
  readonly clusterSize: number
  readonly file: ChildHandle
  readonly table: EntryTable
  /** Where the first cluster may stand. */
  readonly start: number
  #space: TailSpace
  readonly #unit: number
  /** Clusters from here on are damage: they stand behind the end of the file, as it was opened. */
  #limit: number

  constructor(file: ChildHandle, header: Header, table: EntryTable) {
    const { clusterSize, unit, dataStart } = header
    this.clusterSize = clusterSize
    this.file = file
    this.table = table
    this.#unit = unit
    this.#limit = file.size
    const tableEnd = headerSize + table.entries * entrySize
    this.start = alignUp(dataStart > tableEnd && dataStart <= file.size ? dataStart : tableEnd, unit)
    this.#space = new TailSpace(this.start, clusterSize)
    this.survey()
  }

  /** Behind the last cluster that is in use. */
  get end(): number {
    return this.#space.end
  }

  /** Behind the furthest cluster that was in use since the image was opened, in whole blocks of the storage. */
  get furthest(): number {
    return alignUp(this.#space.furthest, this.file.limits.alignment)
  }

  /** Looks through the table for the last cluster. */
  survey(): void {
    let end = this.start
    for (let index = 0; index < this.table.entries; index++) {
      const place = this.placeOf(this.table.get(index))
      if (place >= end) end = place + this.clusterSize
    }
    this.#space = new TailSpace(end, this.clusterSize)
  }

  /** Where an entry that is not 0 points to. */
  hostOf(entry: number): number {
    return entry * this.#unit
  }

  placeOf(entry: number): number {
    if (entry === 0) return Place.unallocated
    const host = this.hostOf(entry)
    return host >= this.#limit || host < headerSize + this.table.entries * entrySize ? Place.damaged : host
  }

  entryOf(host: number): number {
    return host / this.#unit
  }

  take(clusters: number): TakenClusters {
    const taken = this.#space.take(clusters)
    this.#limit = Math.max(this.#limit, this.end)
    return taken
  }

  giveBack(taken: TakenClusters): void {
    this.#space.giveBack(taken)
  }
}
