/**
 * Checking an image, and repairing it.
 *
 *     snapshot table → references → counts on disk → (new structure | single counts) → copied flags → snapshot table, bitmaps
 *
 * First everything that the image refers to is counted in memory; then the counts on disk are compared with that.
 * Guest data is never written, and no cluster that anything refers to is overwritten. Mappings are changed only
 * where that changes nothing a guest reads (flags, reserved bits) or where QEMU does so (misplaced zero clusters).
 * Counts are put right in place; where a used cluster has the count 0, or the refcount table contradicts itself, the
 * whole structure is made anew (rebuild.ts). Every step leaves an image that the next check can go on with.
 *
 * A check holds the metadata mutex: the file is as the caches are. What the check reads goes around them.
 */
import { BlockError, type CheckOptions, type ImageCheck } from '@diskgraph/core/driver'
import { knownAutoclear } from '../header/header.ts'
import { IncompatibleBit } from '../header/layout.ts'
import type { Qcow2State } from '../state.ts'
import { countBitmaps, repairBitmaps } from './bitmaps.ts'
import { checkCopiedFlags, repairEntries } from './entries.ts'
import { rebuildRefcounts } from './rebuild.ts'
import { compareRefcounts, countRefcountStructure, repairRefcounts } from './refcounts.ts'
import { countReferences } from './references.ts'
import { checkSnapshotTable, repairSnapshotTable } from './snapshots.ts'
import { CheckReport, CheckState } from './state.ts'

/** Above this many clusters an image is not checked: QEMU's limit. */
const maxClusters = 0x7fffffff

/**
 * Checks the image and repairs what `options.repair` says. Findings come as lines of text, in QEMU's words. Of the
 * result, `corruptions` and `leaks` are those that remain. With repair the caller has drained the node.
 */
export function checkImage(image: Qcow2State, options: CheckOptions): Promise<ImageCheck> {
  return image.exclusively(async () => {
    const report = new CheckReport(options)
    if (options.repair !== 'none') requireWritable(image)
    await writeCaches(image)
    const check = new CheckState(image, report, options)
    if (check.fileClusters > maxClusters) throw new BlockError('EFBIG', 'the image has too many clusters to be checked')
    try {
      if (await run(check)) {
        report.startAgain()
        await run(new CheckState(image, report, options))
      }
    } finally {
      if (options.repair !== 'none') forgetTables(image)
    }
    const { clusterSize } = image.geometry
    return report.result(clusterSize, Math.ceil(image.size / clusterSize))
  })
}

/**
 * Repairs an image that was not closed properly, and takes its dirty bit away. Rejects with EIO when that cannot be
 * done. What was found is told through the node's warnings.
 */
export async function repairDirty(image: Qcow2State): Promise<void> {
  const result = await checkImage(image, {
    repair: 'all',
    onFinding: (_kind, text) => image.host.warn(text),
  })
  if (result.checkErrors > 0) throw new BlockError('EIO', 'Could not repair dirty image: Input/output error')
}

function requireWritable(image: Qcow2State): void {
  if (image.readOnly) throw new BlockError('EROFS', 'the image is read-only and cannot be repaired')
  if (image.corruption.broken) {
    throw new BlockError('EIO', 'the image was found corrupt while it was in use: open it again to repair it')
  }
}

/** Tables in memory may no longer be what the file has. */
function forgetTables(image: Qcow2State): void {
  image.store.l2.invalidate()
  image.store.blocks.invalidate()
}

/** Writes everything that waits in the caches. */
async function writeCaches(image: Qcow2State): Promise<void> {
  if (image.readOnly || image.corruption.broken) return
  if (image.store.lazy) await image.makeClean()
  else await image.commitMetadata()
}

/** Runs all steps; whether they have to be run again, as the last repair has changed what the others relied on. */
async function run(check: CheckState): Promise<boolean> {
  const { image, report, options } = check
  await checkSnapshotTable(check)
  await countReferences(check)
  await countBitmaps(check)
  const ofReferences = report.corruptions
  countRefcountStructure(check)
  const ofStructure = report.corruptions - ofReferences
  await repairEntries(check)
  const mappingCorruptions = report.corruptions - ofStructure
  const before = { mappingCorruptions, corruptions: report.corruptions, leaks: report.leaks }
  const differs = await compareRefcounts(check)
  if (options.repair !== 'none') await repairCounts(check, differs, before)
  await checkCopiedFlags(check)
  if (options.repair === 'none') return false
  if ((await repairSnapshotTable(check)) || (await repairBitmaps(check))) return true
  if (report.checkErrors === 0 && report.corruptions === 0) await clearBits(image)
  return false
}

/** Figures from before the comparison. */
interface Figures {
  /** What is wrong with mappings and cannot be repaired. */
  readonly mappingCorruptions: number
  readonly corruptions: number
  readonly leaks: number
}

async function repairCounts(check: CheckState, differs: boolean, before: Figures): Promise<void> {
  const { image, report } = check
  if (!check.rebuild) {
    if (!differs) return
    report.corruptions = before.corruptions
    report.leaks = before.leaks
    await repairRefcounts(check)
    image.allocator.reset()
    return
  }
  if (!check.repairAll) {
    report.note('ERROR need to rebuild refcount structures')
    throw new BlockError('EIO', 'the refcount structures have to be rebuilt: repair all, not only leaks')
  }
  await rebuildRefcounts(check)
  report.checkErrors -= check.unreadable
  check.differences.clear()
  check.differencesLost = false
  report.corruptionsFixed += report.corruptions - before.mappingCorruptions
  report.corruptions = before.mappingCorruptions
  report.leaksFixed += report.leaks
  report.leaks = 0
}

/** The image is in order again: the dirty and the corrupt bit go, and what a writer has to clear that does not know it. */
async function clearBits(image: Qcow2State): Promise<void> {
  await image.store.flushFile()
  if (image.header.dirty && !image.store.lazy) await image.header.setIncompatible(IncompatibleBit.dirty, false)
  if (image.header.corrupt) await image.header.setIncompatible(IncompatibleBit.corrupt, false)
  const { autoclearFeatures } = image.header.value
  const known = autoclearFeatures & knownAutoclear
  if (known !== autoclearFeatures) await image.header.update({ autoclearFeatures: known })
}
