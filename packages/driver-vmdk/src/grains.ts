/** Where tables and grains of a sparse extent stand, for the functions that move data. New ones are at the end of the file. */
import { alignUp, BlockError, type ChildHandle } from '@diskgraph/core/driver'
import { Place, TailSpace, type TakenClusters, type TwoLevelFormat } from '@diskgraph/sparse'
import type { Header } from './header.ts'
import { Esx, entrySize, sectorSize, zeroEntry } from './layout.ts'

/** See the top of this file. */
export class Grains implements TwoLevelFormat {
  readonly file: ChildHandle
  readonly clusterSize: number
  readonly entrySize = entrySize
  readonly littleEndian = true
  readonly rootOffset: number
  readonly rootEntries: number
  readonly secondRootOffset?: number
  readonly tableEntries: number
  readonly zeroEntry?: number
  readonly unallocatedIsZero: () => boolean
  readonly #header: Header
  readonly #space: TailSpace
  /** What stands from here on is damage: it is behind the end of the file, as it was opened. */
  #limit: number
  #toldEnd: number

  constructor(file: ChildHandle, header: Header, unallocatedIsZero: () => boolean) {
    this.file = file
    this.clusterSize = header.grainSize
    this.rootOffset = header.rootOffset
    this.rootEntries = header.rootEntries
    if (header.secondRootOffset !== undefined) this.secondRootOffset = header.secondRootOffset
    this.tableEntries = header.tableEntries
    if (header.zeroGrains) this.zeroEntry = zeroEntry
    this.unallocatedIsZero = unallocatedIsZero
    this.#header = header
    this.#limit = file.size
    // Compressed grains are as long as their data.
    const stride = header.compressed ? sectorSize : header.grainSize
    this.#space = new TailSpace(alignUp(file.size, stride), stride)
    this.#toldEnd = this.#space.end
  }

  tableOf = (_high: number, low: number): number => {
    const host = low * sectorSize
    if (low === 0) return Place.unallocated
    return host + this.tableEntries * entrySize <= alignUp(this.#limit, sectorSize) ? host : Place.damaged
  }

  placeOf = (_high: number, low: number): number => {
    if (low === 0) return Place.unallocated
    if (low === zeroEntry && this.#header.zeroGrains) return Place.zero
    const host = low * sectorSize
    if (host >= this.#limit) return Place.damaged
    return this.#header.compressed ? Place.compressed : host
  }

  entryOf(host: number): number {
    return host / sectorSize
  }

  take(clusters: number): TakenClusters {
    const taken = this.#space.take(clusters)
    this.#took()
    return taken
  }

  takeTable(): number {
    const host = this.#space.end
    this.#space.end += alignUp(this.tableEntries * entrySize, this.#header.compressed ? sectorSize : this.clusterSize)
    this.#took()
    return host
  }

  giveBack(taken: TakenClusters): void {
    this.#space.giveBack(taken)
  }

  #took(): void {
    if (this.#space.end / sectorSize > 2 ** 32) {
      throw new BlockError('ENOSPC', 'the extent is full: its entries cannot point behind 2 TiB')
    }
    this.#limit = Math.max(this.#limit, this.#space.end)
  }

  /** The file has whole grains before something points to them. */
  async beforeTables(): Promise<void> {
    const { end } = this.#space
    if (this.file.size < end) await this.file.truncate(end, { exact: false })
    if (this.#header.kind !== 'esx' || end === this.#toldEnd) return
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, end / sectorSize, true)
    await this.file.write(Esx.nextFree, bytes)
    this.#toldEnd = end
  }
}
