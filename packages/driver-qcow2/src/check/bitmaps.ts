/**
 * Counts what persistent bitmaps take: their directory, their tables and the clusters with their bits. Bitmaps that
 * a writer without knowledge of them has left behind (autoclear bit 0 is off) count as leaks.
 *
 * Section "Bitmaps extension"; "Bitmap directory"; "Bitmap table".
 */
import { alignUp, isAligned } from '@diskgraph/core/driver'
import { readU64, viewOf } from '../bytes.ts'
import { findExtension } from '../header/extensions.ts'
import {
  AutoclearBit,
  BitmapDirectoryField,
  BitmapsField,
  bitmapDirectoryEntrySize,
  ExtensionType,
  entrySize,
  hasFeature,
  maxBitmapDirectorySize,
  maxBitmapTableSize,
  offsetOf,
} from '../header/layout.ts'
import { readTable } from '../tables/root-table.ts'
import { countRange } from './references.ts'
import type { CheckState } from './state.ts'

/** Counts all clusters of persistent bitmaps. */
export async function countBitmaps(check: CheckState): Promise<void> {
  const { file, header } = check.image
  const extension = findExtension(header.value.extensions, ExtensionType.bitmaps)
  if (extension === undefined || !hasFeature(header.value.autoclearFeatures, AutoclearBit.bitmaps)) return
  const view = viewOf(extension.data)
  const offset = readU64(view, BitmapsField.directoryOffset)
  const size = readU64(view, BitmapsField.directorySize)
  if (size > maxBitmapDirectorySize) return check.report.corruption('ERROR the bitmap directory is too large')
  countRange(check, offset, size)
  if (offset >= check.fileSize) return
  const directory = new Uint8Array(Math.min(size, check.fileSize - offset))
  await file.read(offset, directory)
  const entries = viewOf(directory)
  let position = 0
  for (let left = view.getUint32(BitmapsField.count); left > 0; left--) {
    if (position + bitmapDirectoryEntrySize > directory.byteLength) return
    await countBitmap(check, entries, position)
    const nameSize = entries.getUint16(position + BitmapDirectoryField.nameSize)
    const extraSize = entries.getUint32(position + BitmapDirectoryField.extraDataSize)
    position += alignUp(bitmapDirectoryEntrySize + nameSize + extraSize, 8)
  }
}

async function countBitmap(check: CheckState, entries: DataView, position: number): Promise<void> {
  const { file, geometry } = check.image
  const offset = readU64(entries, position + BitmapDirectoryField.tableOffset)
  const count = entries.getUint32(position + BitmapDirectoryField.tableSize)
  if (count * entrySize > maxBitmapTableSize) return check.report.corruption('ERROR a bitmap table is too large')
  countRange(check, offset, count * entrySize)
  if (offset >= check.fileSize) return
  const table = await readTable(file, offset, Math.min(count, Math.ceil((check.fileSize - offset) / entrySize)))
  for (let index = 0; index < table.entries; index++) {
    const cluster = offsetOf(table.high(index), table.low(index))
    if (cluster === 0) continue
    if (isAligned(cluster, geometry.clusterSize)) countRange(check, cluster, geometry.clusterSize)
    else check.report.corruption(`ERROR bitmap table entry ${index} is not cluster aligned`)
  }
}
