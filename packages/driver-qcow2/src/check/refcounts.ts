/**
 * Compares the counts on disk with the references that were found, and puts single counts right. Blocks are read
 * from the file in order, past the cache, which holds nothing that is not on disk while a check runs.
 */
import { isAligned } from '@diskgraph/core/driver'
import { viewOf } from '../bytes.ts'
import { entrySize, loRefcountTableReserved } from '../header/layout.ts'
import { refcountAt, setRefcountAt } from '../refcounts/entries.ts'
import { forEachTable } from '../tables/stream.ts'
import { countRange } from './references.ts'
import type { CheckState } from './state.ts'

/** So many differing counts are kept in memory. */
const maxDifferences = 262_144

/** Counts the refcount table and its blocks, and looks for entries of the table that cannot be right. */
export function countRefcountStructure(check: CheckState): void {
  const { image, report, fileClusters, repairAll } = check
  const { refcountTable } = image.store
  const { clusterSize } = image.geometry
  countRange(check, refcountTable.offset, refcountTable.data.byteLength, check.oldStructure)
  for (let index = 0; index < refcountTable.entries; index++) {
    const hi = refcountTable.high(index)
    const lo = refcountTable.low(index)
    if (hi === 0 && lo === 0) continue
    const offset = blockOffset(hi, lo)
    if ((lo & loRefcountTableReserved) !== 0) {
      report.corruption(`ERROR refcount table entry ${index} has reserved bits set`)
      check.rebuild = true
    } else if (!isAligned(offset, clusterSize)) {
      report.corruption(`ERROR refcount block ${index} is not cluster aligned; refcount table entry corrupted`)
      check.rebuild = true
    } else if (offset / clusterSize >= fileClusters) {
      report.corruption(`${repairAll ? 'Repairing' : 'ERROR'} refcount block ${index} is outside image`)
      if (repairAll) check.rebuild = true
    } else {
      countRange(check, offset, clusterSize, check.oldStructure)
      const uses = check.references.get(offset / clusterSize)
      if (uses === 1) continue
      report.corruption(`ERROR refcount block ${index} refcount=${uses}`)
      check.rebuild = true
    }
  }
}

/** The offset in an entry of the refcount table (bits 9-63); not exact where it is absurd. */
function blockOffset(hi: number, lo: number): number {
  return hi * 0x1_0000_0000 + ((lo & ~loRefcountTableReserved) >>> 0)
}

/** Reports every cluster whose count on disk is not the number of references to it; whether there is any. */
export async function compareRefcounts(check: CheckState): Promise<boolean> {
  let differs = false
  await forEachBlock(check, (block) => {
    if (compareBlock(check, block)) differs = true
    return undefined
  })
  return differs
}

/** Sets the counts on disk that are too high, and, if everything is to be repaired, those that are too low. */
export async function repairRefcounts(check: CheckState): Promise<void> {
  const { file, store, geometry } = check.image
  await forEachBlock(check, async (block) => {
    if (block.data === undefined) return
    if (!repairBlock(check, block)) return
    await file.write(block.offset, block.data)
    store.blocks.dropRange(block.offset, geometry.clusterSize)
  })
  await file.flush()
}

/** A part of the counts on disk: a block, or clusters that no block describes (without data). */
interface CountBlock {
  readonly offset: number
  readonly data: Uint8Array | undefined
  readonly view: DataView
  /** The clusters that it describes; `last` is behind them. */
  readonly first: number
  readonly last: number
}

type BlockVisitor = (block: CountBlock) => Promise<void> | undefined

const noView = viewOf(new Uint8Array(0))

/** Visits the counts of all clusters that matter, in order. Blocks that cannot be read are reported. */
async function forEachBlock(check: CheckState, visit: BlockVisitor): Promise<void> {
  const { image, references, fileClusters, fileSize } = check
  const { refcountTable } = image.store
  const { clusterSize, refcountBlockEntries: entries } = image.geometry
  const end = Math.max(fileClusters, references.end)
  const blocks: number[] = []
  const offsets: number[] = []
  for (let index = 0; index * entries < end && index < refcountTable.entries; index++) {
    const offset = blockOffset(refcountTable.high(index), refcountTable.low(index))
    if (offset === 0 || (offset >= fileSize && isAligned(offset, clusterSize))) continue
    blocks.push(index)
    offsets.push(isAligned(offset, clusterSize) ? offset : 0)
  }
  let covered = 0
  const list = { file: image.file, offsets, tableSize: clusterSize, signal: check.options.signal }
  await forEachTable(list, async (at, batch, position) => {
    const first = blocks[at]! * entries
    const last = Math.min(end, first + entries)
    await visit({ offset: 0, data: undefined, view: noView, first: covered, last: first })
    covered = last
    if (offsets[at] === 0) return reportUnreadable(check, first, last)
    const data = new Uint8Array(batch.buffer, batch.byteOffset + position, clusterSize)
    await visit({ offset: offsets[at]!, data, view: viewOf(data), first, last })
  })
  await visit({ offset: 0, data: undefined, view: noView, first: covered, last: end })
}

function reportUnreadable(check: CheckState, first: number, last: number): void {
  for (let cluster = first; cluster < last; cluster++) {
    check.report.failure(`Can't get refcount for cluster ${cluster}: Input/output error`)
    check.unreadable++
    remember(check, cluster, Number.NaN)
  }
}

function compareBlock(check: CheckState, block: CountBlock): boolean {
  const { references, report } = check
  const { first, last, data, view } = block
  let differs = false
  if (data === undefined) {
    for (let at = references.nextUsed(first, last); at < last; at = references.nextUsed(at + 1, last)) {
      report.highestCluster = at
      reportDifference(check, at, 0, '0')
      differs = true
    }
    return differs
  }
  const { refcountOrder } = check.image.geometry
  let highest = -1
  for (let cluster = first; cluster < last; cluster++) {
    const ones = refcountOrder === 4 ? countOnes(check, block, cluster) : 0
    if (ones > 0) {
      cluster += ones
      highest = cluster - 1
      if (cluster >= last) break
    }
    const count = refcountAt({ data, view }, refcountOrder, cluster - first)
    const uses = references.get(cluster)
    if (count === 0 && uses === 0) continue
    highest = cluster
    if (count === uses) continue
    reportDifference(check, cluster, count, countText(view, refcountOrder, cluster - first, count))
    differs = true
  }
  if (highest >= 0) report.highestCluster = highest
  return differs
}

const oneOne = new Uint32Array(new Uint8Array([0, 1, 0, 1]).buffer)[0]!

/** How many clusters from `cluster` on have one reference and, in a block of 16-bit counts, the count 1. */
function countOnes(check: CheckState, block: CountBlock, cluster: number): number {
  const index = cluster - block.first
  if ((index & 3) !== 0) return 0
  const ones = check.references.countOnes(cluster, block.last)
  if (ones === 0) return 0
  const { buffer, byteOffset } = block.data!
  const words = new Uint32Array(buffer, byteOffset + index * 2, ones / 2)
  let at = 0
  while (at < words.length && words[at] === oneOne) at++
  return at * 2
}

function reportDifference(check: CheckState, cluster: number, count: number, text: string): void {
  const uses = check.references.get(cluster)
  const line = `cluster ${cluster} refcount=${text} reference=${uses}`
  if (count > uses) check.report.leak(`Leaked ${line}`)
  else check.report.corruption(`ERROR ${line}`)
  if (count === 0) check.rebuild = true
  remember(check, cluster, count)
}

function remember(check: CheckState, cluster: number, count: number): void {
  if (check.differences.size < maxDifferences) check.differences.set(cluster, count)
  else check.differencesLost = true
}

/** Puts the counts of a block right; whether any changed. */
function repairBlock(check: CheckState, block: CountBlock): boolean {
  const { references, report, repairAll } = check
  const { refcountOrder } = check.image.geometry
  const { first, last, view } = block
  const data = block.data!
  let changed = false
  for (let cluster = first; cluster < last; cluster++) {
    const index = cluster - first
    const count = refcountAt({ data, view }, refcountOrder, index)
    const uses = references.get(cluster)
    if (count === uses) continue
    const line = `cluster ${cluster} refcount=${countText(view, refcountOrder, index, count)} reference=${uses}`
    if (count < uses && !repairAll) {
      report.corruption(`ERROR ${line}`)
      continue
    }
    setRefcountAt({ data, view }, refcountOrder, index, uses)
    check.differences.delete(cluster)
    if (count > uses) report.leakFixed(`Repairing ${line}`)
    else report.fixed(`Repairing ${line}`)
    changed = true
  }
  return changed
}

/** The count as text; counts of 64 bits are exact. */
function countText(view: DataView, order: number, index: number, count: number): string {
  return order === 6 ? view.getBigUint64(index * entrySize).toString() : String(count)
}
