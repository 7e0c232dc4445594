/**
 * Tables of tables: a root, whose entries say where tables stand, whose entries say where clusters stand. Both are read
 * page by page, as they are needed, so that neither their size nor that of the disk counts.
 *
 * Entries change in memory; {@link TwoLevelTables.flush} brings them to the file in an order that leaves leaked clusters
 * at worst:
 *
 *     data, zeroes of new tables   │ flush │ entries of tables   │ flush │ entries of the root   (│ flush: the core's)
 */
import { Gate, Mutex } from '@diskgraph/clusters'
import { alignDown, BlockError } from '@diskgraph/core/driver'
import { MetadataCache, type MetadataPage, type TableFile, type TablePage } from './metadata-cache.ts'
import { Place, type TakenClusters } from './table-format.ts'

/** What an entry says, by its two halves. `high` is 0 where entries have 32 bits. */
export type Meaning = (high: number, low: number) => number

/** A format with two levels of tables. Its clusters are never freed while it is open. */
export interface TwoLevelFormat {
  readonly file: TableFile
  readonly clusterSize: number
  /** Bytes of an entry. */
  readonly entrySize: 4 | 8
  readonly littleEndian: boolean
  /** Where the root stands. */
  readonly rootOffset: number
  readonly rootEntries: number
  /** Where tables stand, and the last one ends, if no root tells it: `rootEntries` is how many there are, then. */
  readonly fixedTables?: { at(number: number): number; readonly end: number }
  /** Where a second root stands, if there is one: its tables are written as those of the first, and never read. */
  readonly secondRootOffset?: number
  /** Entries of a table below the root, a power of two. */
  readonly tableEntries: number
  /** The entry of a cluster that reads as zeroes and has no data, where there is one. */
  readonly zeroEntry?: number
  /** Where a table stands, by its entry in the root; or `Place.unallocated`, `Place.damaged`. */
  readonly tableOf: Meaning
  /** The host offset of a cluster's data, by its entry; or one of {@link Place}. */
  readonly placeOf: Meaning
  /** Whether a cluster without an entry reads as zeroes for ever, as no backing file is named. */
  readonly unallocatedIsZero: () => boolean
  /** The entry for a table or a cluster that stands at `host`. */
  entryOf(host: number): number
  /** Takes up to `clusters` clusters that stand in a row. Nothing else runs meanwhile. ENOSPC where the format ends. */
  take(clusters: number): TakenClusters
  /** Takes room for a table. */
  takeTable(): number
  /** Takes back what {@link take} gave, and nothing points to. */
  giveBack(taken: TakenClusters): void
  /** Writes what must be in the file before tables change: makes it as long as clusters need. Flushed with data; none are taken meanwhile. */
  beforeTables(): Promise<void>
  /** Writes tables in another way than straight into the file: through a log. */
  writeTables?(pages: readonly TablePage[]): Promise<void>
}

const largestPage = 65536
/** Bytes of tables that are kept, beside changed ones. */
const cacheSize = 4 * 2 ** 20

/** The entry of a cluster, in memory: good until the next `await`. */
interface EntrySlot {
  readonly page: MetadataPage
  /** Where the table stands. */
  readonly table: number
  /** Its number in the table. */
  readonly index: number
  /** Of the table, in the root. */
  readonly number: number
}

/** See the top of this file. */
export class TwoLevelTables {
  /** Shut while no cluster may be taken. */
  readonly gate = new Gate()
  readonly #format: TwoLevelFormat
  readonly #tables: MetadataCache
  readonly #root: MetadataCache
  readonly #secondRoot: MetadataCache | undefined
  /** Tables whose seconds are to be written, by the pages of theirs that have changed. */
  readonly #unpaired = new Map<number, { readonly number: number; readonly table: number }>()
  readonly #growing = new Mutex()
  readonly #flushing = new Mutex()

  constructor(format: TwoLevelFormat) {
    this.#format = format
    const { file, entrySize, tableEntries, rootEntries, rootOffset } = format
    const tablePage = Math.min(largestPage, tableEntries * entrySize)
    this.#tables = new MetadataCache(file, tablePage, Math.max(16, cacheSize / tablePage), format.fixedTables?.end)
    this.#root = new MetadataCache(file, largestPage, 16, rootOffset + rootEntries * entrySize)
    const second = format.secondRootOffset
    if (second !== undefined) {
      this.#secondRoot = new MetadataCache(file, largestPage, 16, second + rootEntries * entrySize)
    }
  }

  /** Where table `number` stands, or one of {@link Place}; undefined when the root's entry is not in memory. */
  table(number: number): number | undefined {
    const { rootEntries, rootOffset, entrySize, tableOf, fixedTables } = this.#format
    if (number >= rootEntries) return Place.damaged
    if (fixedTables !== undefined) return fixedTables.at(number)
    const page = this.#root.peek(this.#rootPage(number))
    return page === undefined ? undefined : this.#get(page, rootOffset + number * entrySize, tableOf)
  }

  /** The page with entry `index` of the table at `table`, if it is in memory. */
  page(table: number, index: number): MetadataPage | undefined {
    return this.#tables.peek(this.#pageOf(table, index))
  }

  /** The first entry of a table that is not in the page of entry `index`. */
  pageEnd(index: number): number {
    const entries = this.#tables.pageSize / this.#format.entrySize
    return alignDown(index, entries) + entries
  }

  /** What entry `index` of the table at `table` means. */
  entry(page: MetadataPage, table: number, index: number, meaning: Meaning): number {
    return this.#get(page, table + index * this.#format.entrySize, meaning)
  }

  set({ page, table, index, number }: EntrySlot, value: number | bigint): void {
    if (this.#secondRoot !== undefined) this.#unpaired.set(page.offset, { number, table })
    this.#put(page, table + index * this.#format.entrySize, value)
  }

  /** The entry of a cluster, if it is in memory. */
  slot(cluster: number): EntrySlot | undefined {
    const { tableEntries } = this.#format
    const number = Math.floor(cluster / tableEntries)
    const table = this.table(number)
    if (table === undefined || table < 0) return undefined
    const index = cluster % tableEntries
    const page = this.page(table, index)
    return page === undefined ? undefined : { page, table, index, number }
  }

  /** Reads what is missing for the entry of a cluster; with `make`, makes the table that is missing. */
  async load(cluster: number, make: boolean): Promise<void> {
    const { tableEntries } = this.#format
    const number = Math.floor(cluster / tableEntries)
    const table = this.table(number)
    if (table === undefined) {
      await this.#root.load(this.#rootPage(number))
    } else if (table === Place.damaged) {
      throw this.damage(cluster)
    } else if (table === Place.unallocated) {
      if (make) await this.#makeTable(number)
    } else {
      await this.#tables.load(this.#pageOf(table, cluster % tableEntries))
    }
  }

  /** Gives the root's entry `number`, which is in memory, a table of zeroes. */
  async #makeTable(number: number): Promise<void> {
    const wait = this.#growing.lock()
    if (wait !== undefined) await wait
    try {
      while (this.gate.shut !== undefined) await this.gate.shut
      if (this.table(number) !== Place.unallocated) return
      if (this.#secondRoot !== undefined) {
        await this.#enterTable(this.#secondRoot, this.#format.secondRootOffset!, number, await this.#newTable())
      }
      await this.#enterTable(this.#root, this.#format.rootOffset, number, await this.#newTable())
    } finally {
      this.#growing.unlock()
    }
  }

  async #newTable(): Promise<number> {
    const { file, tableEntries, entrySize } = this.#format
    const host = this.#format.takeTable()
    await file.writeZeroes(host, tableEntries * entrySize, 0)
    return host
  }

  /** Sets entry `number` of a root. */
  async #enterTable(root: MetadataCache, rootOffset: number, number: number, host: number): Promise<void> {
    const at = number * this.#format.entrySize
    const page = await loaded(root, rootOffset + alignDown(at, root.pageSize))
    this.#put(page, rootOffset + at, this.#format.entryOf(host))
  }

  /** Writes when so much has changed that memory would run out. */
  async relieve(): Promise<void> {
    if (this.#tables.crowded) await this.flush()
  }

  /** Writes what has changed. Calls take turns. After a failure the changes are still to be written. */
  async flush(): Promise<void> {
    // The lock first: what is not dirty any more may still be on its way.
    const wait = this.#flushing.lock()
    if (wait !== undefined) await wait
    if (!this.#tables.dirty && !this.#root.dirty) return this.#flushing.unlock()
    const tables = this.#tables.take()
    const roots = [this.#root.take(), ...(this.#secondRoot === undefined ? [] : [this.#secondRoot.take()])]
    try {
      const { file } = this.#format
      await this.gate.whileShut(() => this.#format.beforeTables())
      await file.flush()
      await tables.write(this.#format.writeTables?.bind(this.#format))
      if (this.#secondRoot !== undefined) {
        for (const { offset, bytes } of tables.pages) await this.#writeSecond(this.#secondRoot, offset, bytes)
      }
      if (tables.pages.length > 0 && roots.some(({ pages }) => pages.length > 0)) await file.flush()
      for (const root of roots) await root.write()
    } catch (error) {
      tables.fail()
      for (const root of roots) root.fail()
      throw error
    } finally {
      this.#flushing.unlock()
    }
  }

  /** Writes a page of a table also to the table's second, where there is one. */
  async #writeSecond(root: MetadataCache, offset: number, bytes: Uint8Array): Promise<void> {
    const { number, table } = this.#unpaired.get(offset)!
    const { file, entrySize, tableOf, secondRootOffset = 0 } = this.#format
    const at = number * entrySize
    const second = this.#get(
      await loaded(root, secondRootOffset + alignDown(at, root.pageSize)),
      secondRootOffset + at,
      tableOf,
    )
    if (second >= 0 && second !== table) await file.write(second + offset - table, bytes)
  }

  /** Forgets all pages, as the file was changed besides. Nothing may have changed here. */
  forget(): void {
    this.#tables.clear()
    this.#root.clear()
    this.#secondRoot?.clear()
    this.#unpaired.clear()
  }

  damage(cluster: number): BlockError {
    const offset = cluster * this.#format.clusterSize
    return new BlockError('EIO', `the tables of the image are damaged: there is no place for offset ${offset}`, {
      hint: 'check the image, with repair',
    })
  }

  #rootPage(number: number): number {
    const { rootOffset, entrySize } = this.#format
    return rootOffset + alignDown(number * entrySize, this.#root.pageSize)
  }

  #pageOf(table: number, index: number): number {
    return table + alignDown(index * this.#format.entrySize, this.#tables.pageSize)
  }

  #get({ view, offset }: MetadataPage, at: number, meaning: Meaning): number {
    const { entrySize, littleEndian } = this.#format
    const first = view.getUint32(at - offset, littleEndian)
    if (entrySize === 4) return meaning(0, first)
    const second = view.getUint32(at - offset + 4, littleEndian)
    return littleEndian ? meaning(second, first) : meaning(first, second)
  }

  #put(page: MetadataPage, at: number, value: number | bigint): void {
    const { entrySize, littleEndian } = this.#format
    page.dirty = true
    if (entrySize === 4) page.view.setUint32(at - page.offset, Number(value), littleEndian)
    else page.view.setBigUint64(at - page.offset, BigInt(value), littleEndian)
  }
}

/** The page at `offset`; good until the next `await`. */
async function loaded(cache: MetadataCache, offset: number): Promise<MetadataPage> {
  for (;;) {
    const page = cache.peek(offset)
    if (page !== undefined) return page
    await cache.load(offset)
  }
}
