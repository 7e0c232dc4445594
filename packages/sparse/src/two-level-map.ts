/** The mapping of a format with two levels of tables. */
import {
  type Allocation,
  type Allocations,
  type ClusterChanges,
  type DataMap,
  InFlight,
  Kind,
  type NewClusters,
  newRun,
  type Run,
  type ZeroSettings,
} from '@diskgraph/clusters'
import { alignDown, BlockError, divUp, Flag } from '@diskgraph/core/driver'
import { discardMapped } from './discard.ts'
import type { MetadataPage } from './metadata-cache.ts'
import { kindOf, Place } from './table-format.ts'
import { type TwoLevelFormat, TwoLevelTables } from './two-level-tables.ts'

/** Entries that one look goes through, at most. */
const longestLook = 4096

/** Looks up, allocates and links clusters of a {@link TwoLevelFormat}. */
export class TwoLevelMap implements DataMap, Allocations, ClusterChanges {
  readonly canZero: boolean
  readonly canFree = false
  readonly inFlight = new InFlight()
  readonly #format: TwoLevelFormat
  readonly #tables: TwoLevelTables

  constructor(format: TwoLevelFormat) {
    this.#format = format
    this.#tables = new TwoLevelTables(format)
    this.canZero = format.zeroEntry !== undefined
  }

  /**
   * Stores a cluster by other means than {@link begin}, as compressed data is: `store` runs while nobody else touches it,
   * takes room before its first `await`, and links it. EIO, with the words of `occupied`, where there is data already.
   */
  async storeOnce(guest: number, occupied: string, store: (allocation: Allocation) => Promise<void>): Promise<void> {
    const { inFlight } = this
    const end = guest + this.#format.clusterSize
    while (!inFlight.isClear(guest, end)) await inFlight.wait(guest, end)
    const allocation = inFlight.begin(guest, end)
    try {
      const run = newRun()
      await this.find(guest, 1, run)
      if (run.kind !== Kind.unallocated) throw new BlockError('EIO', occupied)
      // What is taken while the file is made as long as the clusters need would be cut off.
      while (this.#tables.gate.shut !== undefined) await this.#tables.gate.shut
      await store(allocation)
    } finally {
      inFlight.end(allocation)
    }
  }

  /** Writes what has changed in the tables, behind what they point to. */
  flush(): Promise<void> {
    return this.#tables.flush()
  }

  /** Reads tables anew: the file was changed besides. There must be nothing to flush. */
  forget(): void {
    this.#tables.forget()
  }

  peek(offset: number, length: number, run: Run): void {
    const { clusterSize, tableEntries } = this.#format
    const cluster = Math.floor(offset / clusterSize)
    run.copied = true
    run.length = 0
    run.kind = Kind.unallocated
    if (length === 0) return
    const table = this.#tables.table(Math.floor(cluster / tableEntries))
    if (table === Place.unallocated) {
      this.#peekNothing(offset, length, run)
    } else if (table === undefined || table === Place.damaged) {
      run.kind = table === undefined ? Kind.missing : Kind.damaged
    } else {
      const page = this.#tables.page(table, cluster % tableEntries)
      if (page === undefined) run.kind = Kind.missing
      else this.#peekPage(page, table, offset, length, run)
    }
  }

  /** A run of the disk for which there are no tables. */
  #peekNothing(offset: number, length: number, run: Run): void {
    const { clusterSize, tableEntries } = this.#format
    const bytes = clusterSize * tableEntries
    const first = Math.floor(offset / bytes)
    const last = Math.min(first + longestLook, Math.ceil((offset + length) / bytes))
    let next = first + 1
    while (next < last && this.#tables.table(next) === Place.unallocated) next++
    run.length = Math.min(length, next * bytes - offset)
  }

  #peekPage(page: MetadataPage, table: number, offset: number, length: number, run: Run): void {
    const { clusterSize, tableEntries, placeOf } = this.#format
    const cluster = Math.floor(offset / clusterSize)
    const index = cluster % tableEntries
    const first = this.#tables.entry(page, table, index, placeOf)
    run.kind = kindOf(first)
    run.host = first + (offset - cluster * clusterSize)
    if (run.kind === Kind.damaged) return
    const wanted = Math.ceil((offset + length) / clusterSize) - cluster
    // Each compressed cluster stands by itself.
    const look = run.kind === Kind.compressed ? 1 : Math.min(wanted, longestLook)
    const last = Math.min(this.#tables.pageEnd(index), index + look)
    const step = first < 0 ? 0 : clusterSize
    let next = index + 1
    while (next < last && this.#tables.entry(page, table, next, placeOf) === first + (next - index) * step) next++
    run.length = Math.min(length, (cluster + next - index) * clusterSize - offset)
  }

  async find(offset: number, length: number, run: Run): Promise<void> {
    const cluster = Math.floor(offset / this.#format.clusterSize)
    for (;;) {
      this.peek(offset, length, run)
      if (run.kind === Kind.damaged) throw this.#tables.damage(cluster)
      if (run.kind !== Kind.missing) return
      await this.#tables.load(cluster, false)
    }
  }

  /** The halves of the entry of the cluster at `offset`, which {@link peek} has just found. */
  entryAt(offset: number): { readonly high: number; readonly low: number } {
    const { page, table, index } = this.#tables.slot(Math.floor(offset / this.#format.clusterSize))!
    const entry = { high: 0, low: 0 }
    this.#tables.entry(page, table, index, (high, low) => {
      entry.high = high
      entry.low = low
      return 0
    })
    return entry
  }

  /** Where what {@link peek} has just found to be damaged ends: with its table, if that is, else with its cluster. */
  damageEnd(offset: number): number {
    const { clusterSize, tableEntries } = this.#format
    const bytes = clusterSize * tableEntries
    const number = Math.floor(offset / bytes)
    if (this.#tables.table(number) === Place.damaged) return (number + 1) * bytes
    return (Math.floor(offset / clusterSize) + 1) * clusterSize
  }

  next(offset: number): number {
    return offset
  }

  /** No cluster is reserved and reads as zeroes. */
  peekReusable(): number {
    return 0
  }

  async begin(offset: number, length: number): Promise<NewClusters | undefined> {
    const { clusterSize } = this.#format
    const start = alignDown(offset, clusterSize)
    const cluster = start / clusterSize
    await this.#tables.relieve()
    const { shut } = this.#tables.gate
    if (shut !== undefined) {
      await shut
      return undefined
    }
    const slot = this.#tables.slot(cluster)
    if (slot === undefined) {
      await this.#tables.load(cluster, true)
      return undefined
    }
    if (!this.inFlight.isClear(offset, offset + length)) return undefined
    const { page, table, index } = slot
    const last = Math.min(this.#tables.pageEnd(index), index + Math.ceil((offset + length) / clusterSize) - cluster)
    let free = 0
    while (index + free < last && this.#isFree(page, table, index + free)) free++
    if (free === 0) return undefined
    const { host, clusters } = this.#format.take(free)
    const allocation = this.inFlight.begin(start, start + clusters * clusterSize)
    return { allocation, offset, length: Math.min(length, allocation.end - offset), host, clusters, reused: false }
  }

  #isFree(page: MetadataPage, table: number, index: number): boolean {
    const place = this.#tables.entry(page, table, index, this.#format.placeOf)
    return place < 0 && place !== Place.damaged
  }

  /** The clusters are those of one page. */
  async link({ allocation, host, clusters }: NewClusters): Promise<void> {
    const { clusterSize } = this.#format
    const first = allocation.start / clusterSize
    await this.#change(first, clusters, (i) => this.#format.entryOf(host + i * clusterSize))
  }

  /** Gives one cluster an entry that says more than where it stands. */
  linkEntry({ start }: Allocation, entry: bigint): Promise<void> {
    return this.#change(start / this.#format.clusterSize, 1, () => entry)
  }

  async #change(first: number, count: number, entryOf: (i: number) => number | bigint): Promise<void> {
    for (;;) {
      const slot = this.#tables.slot(first)
      if (slot !== undefined) {
        for (let i = 0; i < count; i++) this.#tables.set({ ...slot, index: slot.index + i }, entryOf(i))
        return
      }
      await this.#tables.load(first, true)
    }
  }

  async giveBack(taken: NewClusters): Promise<void> {
    this.#format.giveBack(taken)
  }

  async zero(start: number, end: number, settings: ZeroSettings, signal: AbortSignal | undefined): Promise<boolean> {
    const { file, clusterSize } = this.#format
    const run = newRun()
    for (let at = start; at < end; ) {
      const limit = this.inFlight.clearUntil(at, end)
      if (limit === at) {
        await this.inFlight.wait(at)
        continue
      }
      await this.find(at, limit - at, run)
      const { kind, length, host } = run
      if (kind === Kind.normal) {
        if (settings.onlyEmpty) return false
        await file.writeZeroes(host, length, settings.mayUnmap ? Flag.MayUnmap : 0, signal)
      } else if (kind !== Kind.zero && !(kind === Kind.unallocated && this.#format.unallocatedIsZero())) {
        at += (await this.#zeroEntries(at, divUp(length, clusterSize))) * clusterSize
        continue
      }
      at += length
    }
    return true
  }

  /** Makes up to `most` clusters zero, which have no place of their own; returns how many. */
  async #zeroEntries(offset: number, most: number): Promise<number> {
    const { clusterSize, tableEntries, zeroEntry = 0 } = this.#format
    const first = offset / clusterSize
    const index = first % tableEntries
    await this.#tables.relieve()
    const slot = this.#tables.slot(first)
    if (slot === undefined) {
      await this.#tables.load(first, true)
      return 0
    }
    const last = Math.min(index + most, this.#tables.pageEnd(index))
    let next = index
    // Others may have begun to write here meanwhile.
    while (next < last && this.#isFree(slot.page, slot.table, next)) {
      const at = offset + (next - index) * clusterSize
      if (!this.inFlight.isClear(at, at + clusterSize)) break
      this.#tables.set({ ...slot, index: next++ }, zeroEntry)
    }
    return next - index
  }

  discard(offset: number, length: number, signal: AbortSignal | undefined): Promise<void> {
    return discardMapped(this, this.#format.file, offset, length, signal)
  }
}
