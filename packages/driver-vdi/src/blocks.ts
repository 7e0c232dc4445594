/**
 * Which blocks of the file are in use. New ones are taken at the end; blocks that nothing points to (a crash came
 * before the map, or a write failed) are taken again first.
 */
import { BlockError, type ChildHandle } from '@diskgraph/core/driver'
import { type EntryTable, Place, type TableFormat, type TakenClusters } from '@diskgraph/sparse'
import { blockSize, Entry, maxBlocks } from './layout.ts'

/** The map of an image and its blocks, for the functions that move data. */
export class Blocks implements TableFormat {
  readonly clusterSize = blockSize
  readonly file: ChildHandle
  readonly table: EntryTable
  readonly dataOffset: number
  /** Behind the last block that is in use or free. */
  end = 0
  /** Places that nothing points to, before {@link end}. */
  free: number[] = []
  /** Places from here on are damage: they stand behind the end of the file, as it was opened. */
  #limit: number

  constructor(file: ChildHandle, table: EntryTable, dataOffset: number) {
    this.file = file
    this.table = table
    this.dataOffset = dataOffset
    this.#limit = Math.max(0, Math.ceil((file.size - dataOffset) / blockSize))
    this.survey()
  }

  /** Looks through the map for what is in use. */
  survey(): void {
    const { table } = this
    let end = 0
    let used = 0
    for (let index = 0; index < table.entries; index++) {
      const entry = table.get(index)
      if (entry >= this.#limit) continue
      used++
      if (entry >= end) end = entry + 1
    }
    this.end = end
    this.free = used === end ? [] : this.#gaps(end)
  }

  /** Places below `end` without an entry, the last first, so that the first are taken first. */
  #gaps(end: number): number[] {
    const used = new Uint8Array(end)
    for (let index = 0; index < this.table.entries; index++) {
      const entry = this.table.get(index)
      if (entry < end) used[entry] = 1
    }
    const gaps: number[] = []
    for (let place = end - 1; place >= 0; place--) if (used[place] === 0) gaps.push(place)
    return gaps
  }

  placeOf(entry: number): number {
    if (entry < this.#limit) return this.hostOf(entry)
    return entry === Entry.unallocated || entry === Entry.zero ? Place.zero : Place.damaged
  }

  entryOf(host: number): number {
    return (host - this.dataOffset) / blockSize
  }

  hostOf(place: number): number {
    return this.dataOffset + place * blockSize
  }

  take(clusters: number): TakenClusters {
    const again = this.free.pop()
    if (again !== undefined) return { host: this.hostOf(again), clusters: 1 }
    if (this.end + clusters > maxBlocks) {
      throw new BlockError('ENOSPC', `a VDI image has no more than ${maxBlocks} blocks`)
    }
    const host = this.hostOf(this.end)
    this.end += clusters
    this.#limit = Math.max(this.#limit, this.end)
    return { host, clusters }
  }

  giveBack({ host, clusters }: TakenClusters): void {
    const place = this.entryOf(host)
    if (place + clusters === this.end) this.end = place
    else for (let i = clusters - 1; i >= 0; i--) this.free.push(place + i)
  }
}
