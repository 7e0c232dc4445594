/** The mapping of a table format, for the functions that move data. */
import {
  type Allocations,
  type ClusterChanges,
  type DataMap,
  Gate,
  InFlight,
  Kind,
  type NewClusters,
  type Run,
} from '@diskgraph/clusters'
import { alignDown, BlockError, type ChildHandle } from '@diskgraph/core/driver'
import { discardMapped } from './discard.ts'
import type { EntryTable } from './table.ts'

/** What an entry says when it is no host offset. */
export const Place = {
  /** There is no cluster: zeroes. */
  unallocated: -1,
  zero: -2,
  /** It contradicts the format. */
  damaged: -3,
  /** Compressed data, which only the format can read. */
  compressed: -4,
} as const

/** A run of clusters in the file. */
export interface TakenClusters {
  readonly host: number
  readonly clusters: number
}

/** A format with one table of clusters. Its clusters are never freed while it is open. */
export interface TableFormat {
  readonly file: ChildHandle
  readonly clusterSize: number
  readonly table: EntryTable
  /** The host offset of a cluster's data, by its entry; or one of {@link Place}. */
  placeOf(entry: number): number
  /** The entry for a cluster whose data stands at `host`. */
  entryOf(host: number): number
  /** Takes up to `clusters` clusters that stand in a row. Nothing else runs meanwhile. ENOSPC where the format ends. */
  take(clusters: number): TakenClusters
  /** Takes back what {@link take} gave, and nothing points to. */
  giveBack(taken: TakenClusters): void
}

/** Entries that one look goes through, at most. */
const longestLook = 4096

/** Looks up, allocates and links clusters of a {@link TableFormat}. */
export class TableMap implements DataMap, Allocations, ClusterChanges {
  readonly canZero = false
  readonly canFree = false
  readonly inFlight = new InFlight()
  readonly #format: TableFormat
  readonly #gate = new Gate()

  constructor(format: TableFormat) {
    this.#format = format
  }

  /**
   * Runs `work` while no cluster is taken. Who makes the file as long as the clusters need must do it here: one that is
   * taken meanwhile, and written, would be cut off. Calls take turns by themselves, as those of a flush do.
   */
  whileNoneIsTaken(work: () => Promise<void>): Promise<void> {
    return this.#gate.whileShut(work)
  }

  peek(offset: number, length: number, run: Run): void {
    const { clusterSize, table } = this.#format
    const index = Math.floor(offset / clusterSize)
    const start = index * clusterSize
    // An empty request may stand at the end of the disk.
    const first = length === 0 ? Place.unallocated : this.#place(index)
    run.kind = kindOf(first)
    run.copied = true
    run.host = first + (offset - start)
    run.length = 0
    if (run.kind === Kind.damaged || length === 0) return
    const last = Math.min(table.entries, index + longestLook, Math.ceil((offset + length) / clusterSize))
    let next = index + 1
    const step = first < 0 ? 0 : clusterSize
    while (next < last && this.#place(next) === first + (next - index) * step) next++
    run.length = Math.min(length, next * clusterSize - offset)
  }

  async find(offset: number, length: number, run: Run): Promise<void> {
    this.peek(offset, length, run)
    if (run.kind === Kind.damaged) throw this.#damage(Math.floor(offset / this.#format.clusterSize))
  }

  next(offset: number): number {
    return offset
  }

  /** No cluster of a table is reserved and reads as zeroes. */
  peekReusable(): number {
    return 0
  }

  async begin(offset: number, length: number): Promise<NewClusters | undefined> {
    while (this.#gate.shut !== undefined) await this.#gate.shut
    const { clusterSize } = this.#format
    const start = alignDown(offset, clusterSize)
    const index = start / clusterSize
    const place = this.#place(index)
    if (place === Place.damaged) throw this.#damage(index)
    if (place >= 0 || !this.inFlight.isClear(offset, offset + length)) return undefined
    const wanted = Math.ceil((offset + length) / clusterSize) - index
    let free = 1
    while (free < wanted && kindOf(this.#place(index + free)) !== Kind.normal) {
      if (this.#place(index + free) === Place.damaged) break
      free++
    }
    const { host, clusters } = this.#format.take(free)
    const allocation = this.inFlight.begin(start, start + clusters * clusterSize)
    return { allocation, offset, length: Math.min(length, allocation.end - offset), host, clusters, reused: false }
  }

  async link({ allocation, host, clusters }: NewClusters): Promise<void> {
    const { clusterSize, table } = this.#format
    const index = allocation.start / clusterSize
    for (let i = 0; i < clusters; i++) table.set(index + i, this.#format.entryOf(host + i * clusterSize))
  }

  async giveBack(taken: NewClusters): Promise<void> {
    this.#format.giveBack(taken)
  }

  /** Nothing: there are no zero clusters to make. */
  async zero(): Promise<boolean> {
    return false
  }

  discard(offset: number, length: number, signal: AbortSignal | undefined): Promise<void> {
    return discardMapped(this, this.#format.file, offset, length, signal)
  }

  #place(index: number): number {
    if (index >= this.#format.table.entries) return Place.damaged
    return this.#format.placeOf(this.#format.table.get(index))
  }

  #damage(index: number): BlockError {
    return new BlockError('EIO', `entry ${index} of the table of clusters points out of the image`, {
      hint: 'check the image, with repair',
    })
  }
}

/** The {@link Kind} of a place. */
export function kindOf(place: number): number {
  if (place >= 0) return Kind.normal
  if (place === Place.zero) return Kind.zero
  if (place === Place.compressed) return Kind.compressed
  return place === Place.unallocated ? Kind.unallocated : Kind.damaged
}
