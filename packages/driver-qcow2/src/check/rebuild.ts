/**
 * Makes the whole refcount structure anew, from the references that a check has counted.
 *
 * The new structure goes behind the end of the file, so that nothing is overwritten, not even a cluster that was lost;
 * only where the file cannot grow it goes into clusters that nothing refers to. One write of 12 bytes puts it in
 * charge. A crash leaves either structure in charge, and the image as repairable as before.
 */
import { errorCodeOf } from '@diskgraph/core/driver'
import type { Geometry } from '../header/layout.ts'
import { type RefcountBlock, setRefcountAt } from '../refcounts/entries.ts'
import type { ReferenceCounts } from '../refcounts/reference-counts.ts'
import { planStructure, type StructurePlan, structureClusters, writeStructure } from '../refcounts/structure.ts'
import type { RootTable } from '../tables/root-table.ts'
import type { CheckState } from './state.ts'

/** Replaces the refcount structure by one whose counts are the references. Lists the clusters that this frees. */
export async function rebuildRefcounts(check: CheckState): Promise<void> {
  const { image, references, report, oldStructure } = check
  report.note('Rebuilding refcount structure')
  const before = new Map<number, number>()
  for (const cluster of oldStructure) {
    if (!before.has(cluster)) before.set(cluster, references.get(cluster))
  }
  const table = await placeStructure(check)
  await image.store.flushFile()
  await image.header.setRefcountTable(table.offset, table.data.byteLength / image.geometry.clusterSize)
  await image.store.flushFile()
  image.store.blocks.dropRange(table.offset, table.data.byteLength)
  image.store.blocks.invalidate()
  image.store.replaceRefcountTable(table)
  image.allocator.reset()
  for (const [cluster, count] of [...before].sort(([a], [b]) => a - b)) {
    report.repairNote(`Repairing cluster ${cluster} refcount=${count} reference=${references.get(cluster)}`)
  }
}

/** Writes the structure behind the end of the file, or, where there is no room, between the clusters in use. */
async function placeStructure(check: CheckState): Promise<RootTable> {
  const { image, references, options } = check
  const end = Math.max(references.end, Math.ceil(image.file.size / image.geometry.clusterSize))
  const used = usedBlocks(references, image.geometry)
  const write = async (plan: StructurePlan): Promise<RootTable> => {
    const counts = new PlannedCounts(references, plan, check.oldStructure)
    const table = await writeStructure(image.file, plan, (index, block) => counts.fill(index, block), options.signal)
    counts.apply()
    return table
  }
  try {
    return await write(planStructure(image.geometry, end, used))
  } catch (error) {
    if (errorCodeOf(error) !== 'ENOSPC') throw error
    return write(planInGap(references, image.geometry, used))
  }
}

function planInGap(references: ReferenceCounts, geometry: Geometry, used: readonly number[]): StructurePlan {
  let plan = planStructure(geometry, references.findFree(1, 1), used)
  for (;;) {
    const first = references.findFree(structureClusters(plan), 1)
    const next = planStructure(geometry, first, used)
    if (next.first === plan.first && structureClusters(next) === structureClusters(plan)) return plan
    plan = next
  }
}

function usedBlocks(references: ReferenceCounts, geometry: Geometry): number[] {
  const { refcountBlockEntries: entries } = geometry
  const blocks: number[] = []
  const { end } = references
  for (let at = references.nextUsed(0, end); at < end; ) {
    const index = Math.floor(at / entries)
    blocks.push(index)
    at = references.nextUsed(Math.min(end, (index + 1) * entries), end)
  }
  return blocks
}

/** The references as they are once the new structure is in charge and the old one is not. */
class PlannedCounts {
  private readonly references: ReferenceCounts
  private readonly plan: StructurePlan
  /** References of the old structure, by cluster. */
  private readonly old = new Map<number, number>()

  constructor(references: ReferenceCounts, plan: StructurePlan, oldStructure: readonly number[]) {
    this.references = references
    this.plan = plan
    for (const cluster of oldStructure) this.old.set(cluster, (this.old.get(cluster) ?? 0) + 1)
  }

  fill(blockIndex: number, block: RefcountBlock): undefined {
    const { geometry, first } = this.plan
    const { refcountBlockEntries: entries, refcountOrder } = geometry
    const base = blockIndex * entries
    const end = Math.min(base + entries, this.references.end)
    for (let at = this.references.nextUsed(base, end); at < end; at = this.references.nextUsed(at + 1, end)) {
      const count = this.references.get(at) - (this.old.get(at) ?? 0)
      setRefcountAt(block, refcountOrder, at - base, Math.max(0, count))
    }
    const ownEnd = Math.min(base + entries, first + structureClusters(this.plan))
    for (let at = Math.max(base, first); at < ownEnd; at++) setRefcountAt(block, refcountOrder, at - base, 1)
    return undefined
  }

  /** Makes the references what was written. */
  apply(): void {
    for (const [cluster, count] of this.old) {
      for (let i = 0; i < count && this.references.get(cluster) > 0; i++) this.references.decrement(cluster)
    }
    for (let i = 0; i < structureClusters(this.plan); i++) this.references.increment(this.plan.first + i)
  }
}
