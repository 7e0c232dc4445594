/**
 * Persistent bitmaps in a check: their directory, their tables and the clusters with their bits. Bitmaps that a writer
 * without knowledge of them has left behind (autoclear bit 0 is off) count as leaks. A repair takes away those that are damaged.
 */
import { isAligned } from '@diskgraph/core/driver'
import { removeBitmaps } from '../bitmaps/store.ts'
import { printable } from '../bytes.ts'
import { withExtension } from '../header/extensions.ts'
import {
  AutoclearBit,
  ExtensionType,
  entrySize,
  hiBitmapReserved,
  loAllOnes,
  loBitmapReserved,
  withFeature,
} from '../header/layout.ts'
import { clustersFor } from '../tables/bitmap-bits.ts'
import { isUsable, type StoredBitmap } from '../tables/bitmap-directory.ts'
import { readTable } from '../tables/root-table.ts'
import { countRange } from './references.ts'
import type { CheckState } from './state.ts'

/** Counts the clusters of all bitmaps. */
export async function countBitmaps(check: CheckState): Promise<void> {
  const { image, report, repairAll } = check
  check.damagedBitmaps = []
  if (image.bitmapFault !== undefined) {
    if (!repairAll) report.corruption(`ERROR ${image.bitmapFault}`)
    return
  }
  const stored = image.bitmaps.filter(({ tableOffset }) => tableOffset > 0)
  if (stored.length === 0) return
  const { offset, length } = image.overlap.bitmapDirectory
  countRange(check, offset, length)
  for (const one of stored) await countBitmap(check, one)
}

async function countBitmap(check: CheckState, stored: StoredBitmap): Promise<void> {
  const { fileSize, report, repairAll } = check
  const { file, geometry, size } = check.image
  const { tableOffset, tableEntries, granularityBits } = stored
  const findings: string[] = []
  countRange(check, tableOffset, tableEntries * entrySize)
  const needed = clustersFor({ size, granularity: 2 ** granularityBits }, geometry.clusterSize)
  // One that is in use may be of another size.
  if (isUsable(stored) && tableEntries !== needed)
    findings.push(`has a table of ${tableEntries} entries, not ${needed}`)
  const inside = Math.max(0, Math.min(tableEntries, Math.ceil((fileSize - tableOffset) / entrySize)))
  const table = await readTable(file, tableOffset, inside)
  for (let index = 0; index < table.entries; index++) {
    const offset = table.offsetAt(index)
    const reserved = (table.high(index) & hiBitmapReserved) !== 0 || (table.low(index) & loBitmapReserved) !== 0
    if (reserved || (offset !== 0 && (table.low(index) & loAllOnes) !== 0))
      findings.push(`has reserved bits in entry ${index}`)
    if (offset === 0) continue
    if (isAligned(offset, geometry.clusterSize)) countRange(check, offset, geometry.clusterSize)
    else findings.push(`has an entry ${index} that is not cluster aligned`)
  }
  if (findings.length === 0) return
  check.damagedBitmaps.push(stored)
  const name = printable(stored.name)
  for (const finding of findings.slice(0, 3)) {
    if (repairAll) report.repairNote(`Bitmap '${name}' ${finding}`)
    else report.corruption(`ERROR bitmap '${name}' ${finding}`)
  }
}

/** Takes damaged bitmaps away. Whether there were any: what they took is to be counted again. */
export async function repairBitmaps(check: CheckState): Promise<boolean> {
  const { image, report, damagedBitmaps, repairAll } = check
  if (!repairAll) return false
  if (image.bitmapFault !== undefined) {
    report.fixed(`Removing all bitmaps: ${image.bitmapFault}`)
    const { autoclearFeatures, extensions } = image.header.value
    await image.header.update({
      autoclearFeatures: withFeature(autoclearFeatures, AutoclearBit.bitmaps, false),
      extensions: withExtension(extensions, ExtensionType.bitmaps, undefined),
    })
    image.overlap.bitmapDirectory = { offset: 0, length: 0 }
    image.bitmapFault = undefined
    return true
  }
  if (damagedBitmaps.length === 0) return false
  for (const { name } of damagedBitmaps) report.fixed(`Removing bitmap '${printable(name)}'`)
  await removeBitmaps(image, damagedBitmaps)
  return true
}
