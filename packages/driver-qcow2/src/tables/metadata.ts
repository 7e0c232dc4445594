/**
 * The metadata that is cached for writing, and the order in which it reaches the disk. Nothing else in this driver
 * knows that order.
 *
 *     refcount blocks ──flush──▶ refcount table ──flush──▶ L2 slices ──flush──▶ L1 table ──flush──▶ decrements
 *                                guest data    ───────────┘
 *
 * - Increments of refcounts may be written at any time: alone they are leaks. A refcount table entry is written
 *   when its block is safe, an L2 entry when the refcounts it relies on and the data it points to are safe, an L1
 *   entry when its L2 table is safe. A flush of the file stands between two stages only if the earlier one wrote.
 * - Decrements are not made in memory before the mapping that no longer needs the clusters is safe on disk: freed
 *   clusters wait in {@link PendingFrees}. So refcounts never depend on L2 tables, there are no cycles of
 *   dependencies, and a freed cluster, which a crash may bring back, is not overwritten before that.
 * - With lazy refcounts the dirty bit stands for the first two stages, which are then left to `close`.
 *
 * Nothing of this may fail for want of storage once a guest's write was acknowledged: new L2 tables and refcount
 * blocks are written where they are made, before anything points to them, and tables that stand in holes of the file
 * before they are changed (holes.ts).
 *
 * After a crash there can be refcounts that are too high (leaks), never too low. All methods that write run under
 * the image's mutex.
 */
import { BlockError, type ChildHandle, done, errorCodeOf } from '@diskgraph/core/driver'
import type { Header } from '../header/header.ts'
import { entrySize } from '../header/layout.ts'
import type { HeaderStore } from '../header/store.ts'
import type { TableCache } from './cache.ts'
import { type OverlapGuard, Structure } from './overlap.ts'
import { RootTable, readTable } from './root-table.ts'

/** See the top of this file. */
export class MetadataStore {
  /** Slices of L2 tables. */
  readonly l2: TableCache
  /** Refcount blocks. */
  readonly blocks: TableCache
  /** The active L1 table. */
  l1: RootTable
  /** Empty until it is loaded: read-only images seldom need it. */
  refcountTable: RootTable
  /** Refcounts need not be accurate on disk: the dirty bit is set there. */
  lazy = false
  readonly file: ChildHandle
  /** Where guest data stands, if that is not `file`. */
  private readonly dataFile: ChildHandle | undefined
  private readonly overlap: OverlapGuard
  private readonly header: HeaderStore
  private tableLoaded: Promise<void> | undefined
  /** Refcounts or data that L2 entries rely on were written and may not be safe yet. */
  private unsafe = false
  private dataUnsafe = false
  /** The same of refcount blocks, on which the refcount table relies. */
  private blocksUnsafe = false
  /** The same of L2 slices, on which the L1 table relies. */
  private slicesUnsafe = false
  private readonly guardL1 = (offset: number, length: number) => this.overlap.check(Structure.activeL1, offset, length)
  private readonly guardTable = (offset: number, length: number) =>
    this.overlap.check(Structure.refcountTable, offset, length)

  constructor(
    { file, dataFile }: { readonly file: ChildHandle; readonly dataFile: ChildHandle | undefined },
    header: HeaderStore,
    overlap: OverlapGuard,
    caches: { readonly l2: TableCache; readonly blocks: TableCache },
    tables: { readonly l1: RootTable; readonly refcountTable: RootTable | undefined },
  ) {
    this.file = file
    this.dataFile = dataFile
    this.header = header
    this.overlap = overlap
    this.l2 = caches.l2
    this.blocks = caches.blocks
    this.l1 = tables.l1
    this.refcountTable = tables.refcountTable ?? new RootTable(0, new Uint8Array(0))
    if (tables.refcountTable !== undefined) this.tableLoaded = done
  }

  /** Whether the refcount table is in memory. */
  get refcountsReady(): boolean {
    return this.refcountTable.entries > 0
  }

  /** Reads the refcount table, once. */
  loadRefcountTable(): Promise<void> {
    this.tableLoaded ??= this.readRefcountTable().catch((error) => {
      this.tableLoaded = undefined
      throw new BlockError(errorCodeOf(error), 'Could not read qcow2 refcount table', { cause: error })
    })
    return this.tableLoaded
  }

  private async readRefcountTable(): Promise<void> {
    const { refcountTableOffset, refcountTableClusters, clusterBits } = this.header.value
    const held = this.file.debugEvent('reftable_load')
    if (held !== undefined) await held
    const entries = (refcountTableClusters * 2 ** clusterBits) / entrySize
    this.refcountTable = await readTable(this.file, refcountTableOffset, entries)
    this.overlap.tablesReplaced()
  }

  /** Whether L1 or L2 entries wait to be written. */
  get mappingDirty(): boolean {
    return this.l2.dirty || this.l1.dirty
  }

  /** Whether refcounts wait to be written. */
  get refcountsDirty(): boolean {
    return this.blocks.dirty || this.refcountTable.dirty
  }

  /** Guest data was written that an L2 entry is about to point to. */
  noteData(): void {
    this.unsafe = true
    this.dataUnsafe = true
  }

  /** Makes everything written so far safe. */
  async flushFile(): Promise<void> {
    if (this.dataUnsafe) await this.dataFile?.flush()
    this.dataUnsafe = false
    await this.file.flush()
    this.unsafe = false
    this.blocksUnsafe = false
    this.slicesUnsafe = false
  }

  /** Writes refcount blocks, then, when they are safe, the table entries that point to new ones. */
  async writeRefcounts(): Promise<void> {
    if (this.header.unsure) await this.header.restore()
    await this.writeBlocks()
    if (this.refcountTable.dirty) {
      if (this.blocksUnsafe) await this.flushFile()
      this.unsafe = true
      await this.refcountTable.write(this.file, 'refblock_alloc.hookup', this.guardTable)
    }
  }

  /** Writes refcount blocks. */
  async writeBlocks(): Promise<void> {
    if (!this.blocks.dirty) return
    this.unsafe = true
    this.blocksUnsafe = true
    await this.blocks.writeDirty()
  }

  /** Writes a new L2 table, to which no L1 entry points yet, and takes it into the cache. */
  async writeNewTable(offset: number, data: Uint8Array): Promise<void> {
    this.slicesUnsafe = true
    await this.file.write(offset, data)
    const { sliceSize } = this.l2
    for (let at = 0; at < data.byteLength; at += sliceSize) this.l2.adopt(offset + at, data.slice(at, at + sliceSize))
  }

  /** Writes a new refcount block, to which the refcount table does not point yet, and takes it into the cache. */
  async writeNewBlock(offset: number, data: Uint8Array): Promise<void> {
    this.unsafe = true
    this.blocksUnsafe = true
    await this.file.write(offset, data)
    this.blocks.adopt(offset, data)
  }

  /** Makes sure that no hole of the file is where an entry of the active L1 table stands, which is about to be set. */
  allocateL1Entry(index: number): Promise<void> {
    return this.l1.allocateEntry(this.file, index, this.guardL1)
  }

  /** The same for an entry of the refcount table. */
  allocateRefcountTableEntry(index: number): Promise<void> {
    return this.refcountTable.allocateEntry(this.file, index, this.guardTable)
  }

  /** Writes L2 slices and L1 entries, after what they rely on. They are not flushed when this resolves. */
  async writeMapping(): Promise<void> {
    if (!this.mappingDirty) return
    if (this.header.unsure) await this.header.restore()
    if (!this.lazy) await this.writeRefcounts()
    if (this.l2.dirty) {
      if (this.unsafe) await this.flushFile()
      this.slicesUnsafe = true
      await this.l2.writeDirty()
    }
    if (this.l1.dirty) {
      if (this.slicesUnsafe || this.unsafe) await this.flushFile()
      await this.l1.write(this.file, 'l1_update', this.guardL1)
    }
  }

  /**
   * Replaces several tables at once. The new ones stand in clusters that nothing points to: makes them safe, then puts
   * them in charge by one write of the header, with `changes`. A crash leaves either all old or all new tables in
   * charge; what the others take is leaked at worst. When the write fails, the old header is put back, now or before
   * the next change of metadata.
   */
  async switchTables(changes: Partial<Header>): Promise<void> {
    await this.flushFile()
    try {
      await this.header.setTables(changes)
    } catch (error) {
      await this.header.restore().catch(() => undefined)
      throw error
    }
  }

  /** Changes an entry of the active L1 table; written later. `offset` 0 removes the L2 table. */
  setL1Entry(index: number, offset: number, flags: number): void {
    this.overlap.l2TableMoved(this.l1.offsetAt(index), offset)
    this.l1.set(index, offset, flags)
  }

  /** Changes an entry of the refcount table; written later. */
  setRefcountTableEntry(index: number, offset: number): void {
    this.overlap.refcountBlockMoved(this.refcountTable.offsetAt(index), offset)
    this.refcountTable.set(index, offset, 0)
  }

  /** Another active L1 table took the place of the old one, on disk too. */
  replaceL1(table: RootTable): void {
    this.l1 = table
    this.overlap.tablesReplaced()
  }

  /** Another refcount table took the place of the old one, on disk too. */
  replaceRefcountTable(table: RootTable): void {
    this.refcountTable = table
    this.overlap.tablesReplaced()
  }
}
