/**
 * Writing a whole refcount structure to a new place: refcount blocks and, behind them, the table. Nothing that is in
 * use is touched; the structure is in charge when the header points to it.
 *
 *     first                first + blocks                  first + blocks + tableClusters
 *     │ refcount blocks     │ refcount table                │
 */
import { BlockError, type ChildHandle, throwIfAborted } from '@diskgraph/core/driver'
import { viewOf } from '../bytes.ts'
import { entrySize, type Geometry, maxRefcountTableSize } from '../header/layout.ts'
import { RootTable } from '../tables/root-table.ts'

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
export type BlockFiller = (
  blockIndex: number,
  block: { readonly data: Uint8Array; readonly view: DataView },
) => Promise<void> | undefined

/** How many clusters the structure takes. */
export function structureClusters(plan: StructurePlan): number {
  return plan.blocks.length + plan.tableClusters
}

/**
 * Plans a structure at cluster `first` that describes the blocks in `used` (ascending) and itself. EFBIG when the
 * table would be larger than the format allows.
 */
export function planStructure(geometry: Geometry, first: number, used: readonly number[]): StructurePlan {
  const { clusterSize, refcountBlockEntries: entries } = geometry
  const maxTableClusters = Math.floor(maxRefcountTableSize / clusterSize)
  let tableClusters = 1
  let blocks: readonly number[] = used
  for (;;) {
    const firstOwn = Math.floor(first / entries)
    const lastOwn = Math.floor((first + blocks.length + tableClusters - 1) / entries)
    const all = mergeRange(used, firstOwn, lastOwn)
    const highest = all.at(-1)!
    const neededClusters = Math.ceil(((highest + 1) * entrySize) / clusterSize)
    if (neededClusters > maxTableClusters) {
      throw new BlockError('EFBIG', 'the image is too large for a refcount table')
    }
    if (all.length === blocks.length && neededClusters <= tableClusters) {
      return { geometry, first, blocks: all, tableClusters }
    }
    blocks = all
    tableClusters = Math.max(tableClusters, neededClusters)
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
