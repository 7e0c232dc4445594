/**
 * The snapshot table in a check: what can be read of it, and writing it again when something was wrong with it.
 */
import { BlockError, isAligned } from '@diskgraph/core/driver'
import { maxSnapshots } from '../header/layout.ts'
import { rewriteTable } from '../snapshots/snapshots.ts'
import { readSnapshotTable, type SnapshotTable, type TableFaults } from '../tables/snapshot-table.ts'
import type { CheckState } from './state.ts'

/**
 * Reads the snapshot table. What keeps the image from being opened is an error here too, unless everything is to be
 * repaired: then the entries that can be kept are counted, and {@link repairSnapshotTable} writes them again.
 */
export async function checkSnapshotTable(check: CheckState): Promise<void> {
  const { image, report, repairAll } = check
  const { nbSnapshots, snapshotsOffset, version } = image.header.value
  if (nbSnapshots === 0) return
  if (!Number.isSafeInteger(snapshotsOffset) || !isAligned(snapshotsOffset, image.geometry.clusterSize)) {
    throw new BlockError('EINVAL', 'ERROR snapshot table offset invalid')
  }
  const faults: TableFaults = { longExtra: [], incomplete: [], empty: 0, overhanging: 0, tooBig: 0 }
  const table = await readTable(check, faults)
  check.snapshots = table.records
  check.snapshotsLength = table.length
  if (faults.overhanging > 0) {
    report.fixed(`Discarding ${faults.overhanging} overhanging snapshots`)
    report.corruptionsFixed += faults.overhanging - 1
  }
  for (const { index, size } of faults.longExtra) {
    report.fixed(`Discarding too much extra metadata in snapshot table entry ${index} (${size} > 1024)`)
  }
  if (faults.tooBig > 0) {
    report.fixed(`Discarding ${faults.tooBig} overhanging snapshots (snapshot table is too big)`)
    report.corruptionsFixed += faults.tooBig - 1
  }
  if (version >= 3) {
    for (const index of faults.incomplete) {
      const text = `snapshot table entry ${index} is incomplete`
      if (repairAll) report.fixed(`Repairing ${text}`)
      else report.corruption(`ERROR ${text}`)
    }
  } else if (faults.empty > 0) report.fixed(`Discarding ${faults.empty} empty entries of the snapshot table`)
  const found = faults.overhanging + faults.tooBig + faults.longExtra.length + faults.incomplete.length
  check.snapshotsChanged = repairAll && found > 0
}

async function readTable(check: CheckState, faults: TableFaults): Promise<SnapshotTable> {
  const { image, repairAll } = check
  const { nbSnapshots, snapshotsOffset } = image.header.value
  if (nbSnapshots > maxSnapshots && !repairAll) {
    const hint = `You can force-remove all ${nbSnapshots - maxSnapshots} overhanging snapshots with qemu-img check -r all`
    throw new BlockError('EFBIG', 'ERROR snapshot table too large', { hint })
  }
  if (repairAll) return readSnapshotTable(image.file, snapshotsOffset, nbSnapshots, faults)
  try {
    const strict = await readSnapshotTable(image.file, snapshotsOffset, nbSnapshots)
    strict.records.forEach((record, index) => {
      if (record.diskSize === undefined) faults.incomplete.push(index)
    })
    return strict
  } catch (error) {
    if (!(error instanceof BlockError) || error.code !== 'EFBIG') throw error
    const hint = error.hint === undefined ? {} : { hint: error.hint }
    throw new BlockError('EFBIG', `ERROR failed to read the snapshot table: ${error.message}`, hint)
  }
}

/**
 * Writes the snapshots that were kept into a new table; the old one becomes free. Whether the old one seemed to reach
 * over other structures: then their counts and flags are those of shared clusters, and have to be looked at again.
 */
export async function repairSnapshotTable(check: CheckState): Promise<boolean> {
  const { image, references } = check
  if (!check.snapshotsChanged) return false
  const { snapshotsOffset: offset } = image.header.value
  const old = { offset, length: Math.min(check.snapshotsLength, check.fileSize - offset) }
  await rewriteTable(image, check.snapshots, old)
  check.snapshotsChanged = false
  const { clusterSize } = image.geometry
  for (let at = old.offset; at < old.offset + old.length; at += clusterSize) {
    if (references.get(at / clusterSize) > 1) return true
  }
  return false
}
