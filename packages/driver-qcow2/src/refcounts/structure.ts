/**
 * Refcount structures: refcount blocks and, behind them, their table, laid out in clusters that are not in use. The
 * structure is in charge when the header points to it.
 *
 *     first                first + blocks                  first + blocks + tableClusters
 *     │ refcount blocks     │ refcount table                │
 *
 * A whole new structure replaces the old one. Where only the table is too small, it moves: the new table and the blocks
 * that describe its surroundings go to a part of the file that no block describes yet, so all of it is free. They are
 * written and flushed; then one write of 12 bytes switches the header over, and is flushed before the old table is
 * freed. A crash leaves either table in charge, the other one leaked.
 */
import { BlockError, type ChildHandle, throwIfAborted } from '@diskgraph/core/driver'
import { viewOf } from '../bytes.ts'
import { entrySize, type Geometry, maxRefcountTableSize } from '../header/layout.ts'
import type { HeaderStore } from '../header/store.ts'
import type { MetadataStore } from '../tables/metadata.ts'
import { type OverlapGuard, Structure } from '../tables/overlap.ts'
import { RootTable } from '../tables/root-table.ts'
import { type RefcountBlock, setRefcountAt } from './entries.ts'

/** Where a new structure goes. */
export interface StructurePlan {
  readonly geometry: Geometry
  /** Its first cluster; the clusters behind follow without a gap. */
  readonly first: number
  /** The refcount blocks that are not all zeroes, in order. */
  readonly blocks: readonly number[]
  readonly tableClusters: number
}

/** Fills a block of zeroes with the counts of its clusters. */
type BlockFiller = (blockIndex: number, block: RefcountBlock) => Promise<void> | undefined

/** How many clusters the structure takes. */
export function structureClusters(plan: StructurePlan): number {
  return plan.blocks.length + plan.tableClusters
}

/**
 * Plans a structure at cluster `first` that describes the blocks in `used` (ascending) and itself, with a table of
 * `tableClusters` at least. EFBIG when the table would be larger than the format allows.
 */
export function planStructure(
  geometry: Geometry,
  first: number,
  used: readonly number[],
  tableClusters = 1,
): StructurePlan {
  const { clusterSize, refcountBlockEntries: entries } = geometry
  const maxTableClusters = Math.floor(maxRefcountTableSize / clusterSize)
  let clusters = tableClusters
  let blocks: readonly number[] = used
  for (;;) {
    const firstOwn = Math.floor(first / entries)
    const lastOwn = Math.floor((first + blocks.length + clusters - 1) / entries)
    const all = mergeRange(used, firstOwn, lastOwn)
    const highest = all.at(-1)!
    const neededClusters = Math.ceil(((highest + 1) * entrySize) / clusterSize)
    if (neededClusters > maxTableClusters) {
      throw new BlockError('EFBIG', 'the refcount table would exceed its largest size')
    }
    if (all.length === blocks.length && neededClusters <= clusters) {
      return { geometry, first, blocks: all, tableClusters: clusters }
    }
    blocks = all
    clusters = Math.max(clusters, neededClusters)
  }
}

/** The ascending list with all numbers from `first` to `last` in it. */
function mergeRange(list: readonly number[], first: number, last: number): number[] {
  const merged = new Set(list)
  for (let number = first; number <= last; number++) merged.add(number)
  return [...merged].sort((a, b) => a - b)
}

const batchBytes = 1024 * 1024

/** Writes the blocks and the table of a plan, and returns the table. Not flushed. */
export async function writeStructure(
  file: ChildHandle,
  plan: StructurePlan,
  fill: BlockFiller,
  signal?: AbortSignal,
): Promise<RootTable> {
  const { geometry, blocks, first, tableClusters } = plan
  const { clusterSize } = geometry
  const perBatch = Math.max(1, Math.floor(batchBytes / clusterSize))
  const table = new RootTable((first + blocks.length) * clusterSize, new Uint8Array(tableClusters * clusterSize))
  const buf = new Uint8Array(Math.min(perBatch, blocks.length) * clusterSize)
  for (let from = 0; from < blocks.length; from += perBatch) {
    throwIfAborted(signal)
    const count = Math.min(perBatch, blocks.length - from)
    buf.fill(0)
    for (let i = 0; i < count; i++) {
      const data = buf.subarray(i * clusterSize, (i + 1) * clusterSize)
      const held = fill(blocks[from + i]!, { data, view: viewOf(data) })
      if (held !== undefined) await held
      table.set(blocks[from + i]!, (first + from + i) * clusterSize, 0)
    }
    await file.write((first + from) * clusterSize, buf.subarray(0, count * clusterSize))
  }
  await file.write(table.offset, table.data)
  return new RootTable(table.offset, table.data)
}

/** What a table needs to move. */
export interface GrowthParts {
  readonly file: ChildHandle
  readonly geometry: Geometry
  readonly header: HeaderStore
  readonly store: MetadataStore
  readonly overlap: OverlapGuard
  /** The clusters of an old table lose their reference when that is safe. */
  freeLater(offset: number, length: number): void
}

/** Makes the refcount table hold an entry for `blockIndex`, which is past its end. EFBIG at the format's cap. */
export async function growRefcountTable(parts: GrowthParts, blockIndex: number, cluster: number): Promise<void> {
  const { file, geometry, store, overlap } = parts
  const { clusterSize, refcountBlockEntries } = geometry
  const held = file.debugEvent('reftable_grow')
  if (held !== undefined) await held
  const old = store.refcountTable
  const largest = Math.floor(maxRefcountTableSize / clusterSize)
  const wanted = Math.min(largest, Math.ceil((old.data.byteLength * 1.5) / clusterSize))
  const plan = planStructure(geometry, Math.max(cluster, blockIndex * refcountBlockEntries), [], wanted)
  const start = plan.first * clusterSize
  const refusal = overlap.check(Structure.none, start, structureClusters(plan) * clusterSize)
  if (refusal !== undefined) await refusal
  const data = new Uint8Array(plan.tableClusters * clusterSize)
  data.set(old.data)
  const table = new RootTable(start + plan.blocks.length * clusterSize, data)
  createBlocks(parts, plan, table)
  try {
    await writeAndSwitch(parts, table, plan.tableClusters)
  } catch (error) {
    store.blocks.dropRange(start, plan.blocks.length * clusterSize)
    throw error
  }
  store.replaceRefcountTable(new RootTable(table.offset, data))
  parts.freeLater(old.offset, old.data.byteLength)
}

async function writeAndSwitch(parts: GrowthParts, table: RootTable, tableClusters: number): Promise<void> {
  const { file, store } = parts
  const write = file.debugEvent('refblock_alloc.write_blocks')
  if (write !== undefined) await write
  await store.writeBlocks()
  const writeTable = file.debugEvent('refblock_alloc.write_table')
  if (writeTable !== undefined) await writeTable
  await file.write(table.offset, table.data)
  await store.flushFile()
  const switchTable = file.debugEvent('refblock_alloc.switch_table')
  if (switchTable !== undefined) await switchTable
  await parts.header.setRefcountTable(table.offset, tableClusters)
}

/** Makes the blocks of the plan in the cache, with counts of 1 for themselves and the table. */
function createBlocks({ store }: GrowthParts, plan: StructurePlan, table: RootTable): void {
  const { clusterSize, refcountBlockEntries: entries, refcountOrder } = plan.geometry
  const end = plan.first + structureClusters(plan)
  for (const [i, blockIndex] of plan.blocks.entries()) {
    const block = store.blocks.create((plan.first + i) * clusterSize)
    const base = blockIndex * entries
    const to = Math.min(end, base + entries)
    for (let cluster = Math.max(plan.first, base); cluster < to; cluster++) {
      setRefcountAt(block, refcountOrder, cluster - base, 1)
    }
    table.set(blockIndex, block.offset, 0)
  }
}
