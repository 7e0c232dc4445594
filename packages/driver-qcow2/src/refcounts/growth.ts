/**
 * Moves the refcount table to a larger place. The new table and the refcount blocks that describe its surroundings
 * are laid out behind each other in a part of the file that no block describes yet, so all of it is free:
 *
 *     first                first + blocks                  first + blocks + tableClusters
 *     │ new refcount blocks │ new refcount table            │
 *
 * They are written and flushed; then one write of 12 bytes switches the header over, and is flushed before the old
 * table is freed. A crash leaves either table in charge, the other one leaked.
 */
import { BlockError } from '@diskgraph/core/driver'
import { entrySize, type Geometry, maxRefcountTableSize } from '../header/layout.ts'
import { Structure } from '../tables/overlap.ts'
import { RootTable } from '../tables/root-table.ts'
import type { AllocatorParts } from './allocator.ts'
import { setRefcountAt } from './entries.ts'

interface Plan {
  readonly first: number
  readonly blocks: number
  readonly tableClusters: number
}

/** Makes the refcount table hold an entry for `blockIndex`, which is past its end. EFBIG at the format's cap. */
export async function growRefcountTable(parts: AllocatorParts, blockIndex: number, cluster: number): Promise<void> {
  const { file, geometry, store, overlap } = parts
  const { clusterSize, refcountBlockEntries } = geometry
  const held = file.debugEvent('reftable_grow')
  if (held !== undefined) await held
  const old = store.refcountTable
  const plan = planGrowth(geometry, old.data.byteLength, Math.max(cluster, blockIndex * refcountBlockEntries))
  const total = plan.blocks + plan.tableClusters
  const refusal = overlap.check(Structure.none, plan.first * clusterSize, total * clusterSize)
  if (refusal !== undefined) await refusal
  const data = new Uint8Array(plan.tableClusters * clusterSize)
  data.set(old.data)
  const table = new RootTable((plan.first + plan.blocks) * clusterSize, data)
  createBlocks(parts, plan, table)
  try {
    await writeAndSwitch(parts, table, plan.tableClusters)
  } catch (error) {
    store.blocks.dropRange(plan.first * clusterSize, plan.blocks * clusterSize)
    throw error
  }
  store.replaceRefcountTable(new RootTable(table.offset, data))
  parts.freeLater(old.offset, old.data.byteLength)
}

async function writeAndSwitch(parts: AllocatorParts, table: RootTable, tableClusters: number): Promise<void> {
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

function planGrowth(geometry: Geometry, oldSize: number, first: number): Plan {
  const { clusterSize, refcountBlockEntries: entries } = geometry
  const maxClusters = Math.floor(maxRefcountTableSize / clusterSize)
  let tableClusters = Math.min(maxClusters, Math.ceil((oldSize * 1.5) / clusterSize))
  let blocks = 1
  for (;;) {
    const lastBlock = Math.floor((first + blocks + tableClusters - 1) / entries)
    const neededClusters = Math.ceil(((lastBlock + 1) * entrySize) / clusterSize)
    const neededBlocks = lastBlock - Math.floor(first / entries) + 1
    if (neededClusters > maxClusters) {
      throw new BlockError('EFBIG', 'the image file cannot grow any further: its refcount table is at its largest')
    }
    if (neededClusters <= tableClusters && neededBlocks <= blocks) return { first, blocks, tableClusters }
    tableClusters = Math.max(tableClusters, neededClusters)
    blocks = Math.max(blocks, neededBlocks)
  }
}

/** Makes the blocks of the plan in the cache, with counts of 1 for themselves and the table. */
function createBlocks(parts: AllocatorParts, plan: Plan, table: RootTable): void {
  const { geometry, store } = parts
  const { clusterSize, refcountBlockEntries: entries, refcountOrder } = geometry
  const firstBlock = Math.floor(plan.first / entries)
  const end = plan.first + plan.blocks + plan.tableClusters
  for (let i = 0; i < plan.blocks; i++) {
    const block = store.blocks.create((plan.first + i) * clusterSize)
    const base = (firstBlock + i) * entries
    const to = Math.min(end, base + entries)
    for (let cluster = Math.max(plan.first, base); cluster < to; cluster++) {
      setRefcountAt(block, refcountOrder, cluster - base, 1)
    }
    table.set(firstBlock + i, block.offset, 0)
  }
}
