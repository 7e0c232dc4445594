/**
 * Repairs of entries in L1 and L2 tables.
 *
 * Changes of single entries are collected while references are counted and made afterwards, when it is known that the
 * table they stand in shares its cluster with nothing else. Then the copied flags of the active mapping: set where, and
 * only where, the count of what an entry points to is 1. Right after the counts have been compared they are known
 * without reading them again: they are the references, apart from the differences that were found. And where nothing
 * is shared, all flags are set and no count differs, nothing has to be looked at.
 */
import { alignDown, isAligned } from '@diskgraph/core/driver'
import { viewOf } from '../bytes.ts'
import { entrySize, hiCompressed, hiCopied, offsetOf } from '../header/layout.ts'
import { refcountAt } from '../refcounts/entries.ts'
import { forEachTable } from '../tables/stream.ts'
import { type CheckState, type EntryRepair, hexField } from './state.ts'

/** Makes the postponed changes; those that are not safe to make are reported as errors. */
export async function repairEntries(check: CheckState): Promise<void> {
  const { image, report } = check
  const { l1 } = image.store
  for (const repair of check.repairs) {
    if (!ownsCluster(check, repair.offset, repair.inL2)) {
      report.corruption(`ERROR ${repair.text}`)
      continue
    }
    await writeEntry(check, repair)
    if (!repair.inL2 && repair.offset >= l1.offset && repair.offset < l1.offset + l1.data.byteLength) {
      l1.view.setUint32(repair.offset - l1.offset, repair.hi)
      l1.view.setUint32(repair.offset - l1.offset + 4, repair.lo)
    }
    report.fixed(`Repairing ${repair.text}`)
  }
  check.repairs.length = 0
}

/** Reports wrong copied flags, or corrects them. */
export async function checkCopiedFlags(check: CheckState): Promise<void> {
  const { image, references, options, report } = check
  const countsRight = check.differences.size === 0 && !check.differencesLost
  if (check.flagsPlain && !references.shared && countsRight) return
  const clean = report.checkErrors === 0 && report.corruptions === 0 && report.leaks === 0
  const repair = check.repairAll || (options.repair === 'leaks' && clean)
  const counts = new CountsOnDisk(check)
  const tables = await checkL1(check, counts, repair)
  const { file, geometry } = image
  const list = { file, offsets: tables, tableSize: geometry.clusterSize, signal: options.signal }
  let written = false
  await forEachTable(list, async (index, batch, at) => {
    const table = new DataView(batch.buffer, batch.byteOffset + at, geometry.clusterSize)
    const offset = tables[index]!
    if (!(await checkTable(check, counts, table, repair && ownsCluster(check, offset, true)))) return
    await file.write(offset, new Uint8Array(table.buffer, table.byteOffset, table.byteLength))
    written = true
  })
  if (written) {
    image.store.l2.invalidate()
    await file.flush()
  }
}

/** Checks the flags of L1 entries, and returns where the L2 tables are. */
async function checkL1(check: CheckState, counts: CountsOnDisk, repair: boolean): Promise<number[]> {
  const { image, report, fileSize } = check
  const { clusterSize } = image.geometry
  const { l1 } = image.store
  const tables: number[] = []
  const changed = new Set<number>()
  for (let index = 0; index < l1.entries; index++) {
    const offset = l1.offsetAt(index)
    if (offset === 0) continue
    const count = await counts.get(Math.floor(offset / clusterSize))
    if (Number.isNaN(count)) continue
    const hi = l1.high(index)
    const lo = l1.low(index)
    if ((count === 1) !== ((hi & hiCopied) !== 0)) {
      const entry = `l1_entry=${hexField(hi, lo)} refcount=${count}`
      const text = `OFLAG_COPIED L2 cluster: l1_index=${index} ${entry}`
      const at = index * entrySize
      if (repair && ownsCluster(check, l1.offset + at, false)) {
        report.fixed(`Repairing ${text}`)
        l1.view.setUint32(at, (count === 1 ? hi | hiCopied : hi & ~hiCopied) >>> 0)
        changed.add(alignDown(at, 512))
      } else report.corruption(`ERROR ${text}`)
    }
    if (isAligned(offset, clusterSize) && offset < fileSize) tables.push(offset)
  }
  for (const at of changed) await image.file.write(l1.offset + at, l1.data.subarray(at, at + 512))
  return tables
}

/** Checks the flags of an L2 table's entries; whether the table was changed. */
async function checkTable(check: CheckState, counts: CountsOnDisk, table: DataView, repair: boolean): Promise<boolean> {
  const { report } = check
  const { geometry } = check.image
  const { clusterSize, l2EntrySize, external } = geometry
  let changed = false
  for (let at = 0; at < table.byteLength; at += l2EntrySize) {
    const hi = table.getUint32(at)
    const lo = table.getUint32(at + 4)
    if ((hi & hiCompressed) !== 0) continue
    const offset = offsetOf(hi, lo)
    if (offset === 0) continue
    const cluster = Math.floor(offset / clusterSize)
    // A cluster of an external data file is used once.
    let count = external ? 1 : counts.peek(cluster)
    if (count < 0) count = await counts.get(cluster)
    if ((count === 1) === ((hi & hiCopied) !== 0) || Number.isNaN(count)) continue
    const text = `OFLAG_COPIED data cluster: l2_entry=${hexField(hi, lo)} refcount=${count}`
    if (repair) {
      report.fixed(`Repairing ${text}`)
      table.setUint32(at, (count === 1 ? hi | hiCopied : hi & ~hiCopied) >>> 0)
      changed = true
    } else report.corruption(`ERROR ${text}`)
  }
  return changed
}

/** The counts as they are on disk. */
class CountsOnDisk {
  private readonly check: CheckState
  /** Counts of clusters below are references or differences. */
  private readonly compared: number
  private blockIndex = -1
  private block = { data: new Uint8Array(0), view: viewOf(new Uint8Array(0)) }

  constructor(check: CheckState) {
    this.check = check
    this.compared = check.differencesLost ? 0 : Math.max(check.fileClusters, check.references.end)
  }

  /** The count of a cluster, NaN if it cannot be read, or -1 when it has to be read first. */
  peek(cluster: number): number {
    if (cluster >= this.compared) return -1
    const { differences, references } = this.check
    if (differences.size > 0) {
      const count = differences.get(cluster)
      if (count !== undefined) return count
    }
    return references.get(cluster)
  }

  /** The count of a cluster, or NaN if it cannot be read. */
  async get(cluster: number): Promise<number> {
    const known = this.peek(cluster)
    if (!(known < 0)) return known
    const { file, geometry, refcounts } = this.check.image
    const { clusterSize, refcountBlockEntries, refcountOrder } = geometry
    const blockIndex = Math.floor(cluster / refcountBlockEntries)
    const offset = refcounts.blockOffset(blockIndex)
    if (offset === 0) return 0
    if (!isAligned(offset, clusterSize)) return Number.NaN
    if (blockIndex !== this.blockIndex) {
      const data = new Uint8Array(clusterSize)
      await file.read(offset, data)
      this.block = { data, view: viewOf(data) }
      this.blockIndex = blockIndex
    }
    return refcountAt(this.block, refcountOrder, cluster - blockIndex * refcountBlockEntries)
  }
}

/** Whether the cluster at `offset` is a table of the wanted kind and nothing else. */
function ownsCluster(check: CheckState, offset: number, inL2: boolean): boolean {
  const cluster = Math.floor(offset / check.image.geometry.clusterSize)
  const uses = check.references.get(cluster)
  return uses > 0 && uses === (inL2 ? check.l2Uses.get(cluster) : 1)
}

async function writeEntry(check: CheckState, repair: EntryRepair): Promise<void> {
  const bytes = new Uint8Array(entrySize)
  const view = viewOf(bytes)
  view.setUint32(0, repair.hi)
  view.setUint32(4, repair.lo)
  await check.image.file.write(repair.offset, bytes)
}
