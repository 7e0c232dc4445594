/** Where tables and data of an image stand, for the functions that move data. All are taken at the end of the file. */
import { alignUp, type ChildHandle } from '@diskgraph/core/driver'
import { Place, TailSpace, type TakenClusters, type TwoLevelFormat } from '@diskgraph/sparse'
import { entrySize, type Header, sectorSize } from './header.ts'

/** Set in the upper half of an entry whose cluster is compressed. */
const compressedFlag = 2 ** 31

/** A compressed cluster in the file. */
export interface CompressedPlace {
  readonly offset: number
  readonly length: number
}

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
  readonly #clusterBits: number
  readonly #space: TailSpace
  /** What stands from here on is damage: it is behind the end of the file, as it was opened. */
  #limit: number
  /** Behind what was compressed last, in clusters that are taken. */
  #packed = { at: 0, end: 0 }

  constructor(file: ChildHandle, header: Header, unallocatedIsZero: () => boolean) {
    const { clusterBits, l2Bits, size } = header
    this.file = file
    this.clusterSize = 2 ** clusterBits
    this.rootOffset = header.rootOffset
    this.rootEntries = Math.ceil(size / 2 ** (clusterBits + l2Bits))
    this.tableEntries = 2 ** l2Bits
    this.unallocatedIsZero = unallocatedIsZero
    this.#clusterBits = clusterBits
    this.#limit = file.size
    const end = Math.max(file.size, header.rootOffset + this.rootEntries * entrySize)
    this.#space = new TailSpace(alignUp(end, this.clusterSize), this.clusterSize)
  }

  /** Behind the last cluster. */
  get end(): number {
    return this.#space.end
  }

  tableOf = (high: number, low: number): number => this.#within(high * 2 ** 32 + low)

  placeOf = (high: number, low: number): number => {
    return high >= compressedFlag ? Place.compressed : this.#within(high * 2 ** 32 + low)
  }

  #within(host: number): number {
    if (host === 0) return Place.unallocated
    return host < this.#limit ? host : Place.damaged
  }

  /** What the entry of a compressed cluster says: its place in the low bits, above it as many bits of length as a cluster has. */
  compressedPlace(high: number, low: number): CompressedPlace {
    const unit = 2 ** (31 - this.#clusterBits)
    const rest = high - compressedFlag
    return { offset: (rest % unit) * 2 ** 32 + low, length: Math.floor(rest / unit) }
  }

  /** The inverse of {@link compressedPlace}. */
  compressedEntry({ offset, length }: CompressedPlace): bigint {
    return (1n << 63n) | (BigInt(length) << BigInt(63 - this.#clusterBits)) | BigInt(offset)
  }

  entryOf(host: number): number {
    return host
  }

  take(clusters: number): TakenClusters {
    const taken = this.#space.take(clusters)
    this.#limit = Math.max(this.#limit, this.end)
    return taken
  }

  /** Takes room for less than a cluster of compressed data, in whole sectors. */
  takePacked(length: number): number {
    const bytes = alignUp(length, sectorSize)
    if (this.#packed.end - this.#packed.at < bytes) {
      const { host } = this.take(1)
      // What was begun goes on where its next cluster follows.
      const at = host === this.#packed.end ? this.#packed.at : host
      this.#packed = { at, end: host + this.clusterSize }
    }
    const host = this.#packed.at
    this.#packed.at += bytes
    return host
  }

  takeTable(): number {
    const host = this.end
    this.#space.end += alignUp(this.tableEntries * entrySize, this.clusterSize)
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
}
