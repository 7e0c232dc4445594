/**
 * The bits of a bitmap in its file: a table with one entry for each cluster of bits.
 *
 * Sections "Bitmap table" and "Bitmap data". Clusters without a set bit, and those with nothing else, take no space.
 */
import { alignUp, type ChildHandle, type DirtyBitmap, isAligned } from '@diskgraph/core/driver'
import { highHalf, lowHalf, printable, refuse, viewOf } from '../bytes.ts'
import { entrySize, hiBitmapReserved, loAllOnes, loBitmapReserved, offsetOf } from '../header/layout.ts'
import type { StoredBitmap } from './bitmap-directory.ts'
import { type RootTable, readTable } from './root-table.ts'

const longestRead = 1024 * 1024

/** The file that holds bits. */
interface BitsFile {
  readonly file: ChildHandle
  readonly clusterSize: number
  /** Bytes of the file that nothing has been read from: a file whose bitmaps share clusters would fill the memory. */
  unread: number
}

/** How many clusters the bits of `bitmap` take, and thus entries their table. */
export function clustersFor(
  { size, granularity }: Pick<DirtyBitmap, 'size' | 'granularity'>,
  clusterSize: number,
): number {
  return Math.ceil(Math.ceil(size / granularity) / (clusterSize * 8))
}

/** Marks in `bitmap` what the image has marked. EINVAL when its table is damaged. */
export async function loadBits(source: BitsFile, stored: StoredBitmap, bitmap: DirtyBitmap): Promise<void> {
  const { file, clusterSize } = source
  const failed = `Could not read bitmap '${printable(stored.name)}' from image`
  if (stored.tableEntries !== clustersFor(bitmap, clusterSize)) refuse('EINVAL', `${failed}: Invalid argument`)
  const table = await readTableInside(source, stored)
  const granules = clusterSize * 8
  for (let index = 0; index < table.entries; ) {
    const hi = table.high(index)
    const lo = table.low(index)
    const offset = table.offsetAt(index)
    const reserved = (hi & hiBitmapReserved) !== 0 || (lo & loBitmapReserved) !== 0
    const wrong = offset === 0 ? false : (lo & loAllOnes) !== 0 || !isAligned(offset, clusterSize)
    if (reserved || wrong) refuse('EINVAL', `${failed}: Invalid argument`)
    if (offset === 0 || offset >= file.size) {
      if (offset === 0 && lo === loAllOnes) {
        bitmap.set(index * granules * bitmap.granularity, granules * bitmap.granularity)
      }
      index++
      continue
    }
    let count = 1
    while ((count + 1) * clusterSize <= longestRead && continues(table, index + count, offset + count * clusterSize))
      count++
    const bytes = new Uint8Array(count * clusterSize)
    spend(source, bytes.byteLength)
    await file.read(offset, bytes)
    bitmap.mergeBits(index * granules, bytes)
    index += count
  }
}

function continues(table: RootTable, index: number, offset: number): boolean {
  if (index >= table.entries) return false
  return table.high(index) === highHalf(offset) && table.low(index) === lowHalf(offset)
}

/** The table of a bitmap, as far as it is in the file. */
async function readTableInside(source: BitsFile, { tableOffset, tableEntries }: StoredBitmap): Promise<RootTable> {
  const { file } = source
  const inside = Math.max(0, Math.min(tableEntries, Math.floor((file.size - tableOffset) / entrySize)))
  spend(source, inside * entrySize)
  return readTable(file, tableOffset, inside)
}

function spend(source: BitsFile, length: number): void {
  source.unread -= length
  if (source.unread < -source.clusterSize) refuse('EINVAL', 'Could not read bitmaps from image: they share clusters')
}

/** What `writeBits` needs: it takes clusters and writes into them. */
interface BitsWriter {
  readonly clusterSize: number
  /** Takes contiguous clusters and returns the offset of the first. */
  allocate(clusters: number): Promise<number>
  write(offset: number, bytes: Uint8Array): Promise<void>
}

/** Writes the bits of `bitmap` and their table into new clusters; where the table stands, and how many entries it has. */
export async function writeBits(
  writer: BitsWriter,
  bitmap: DirtyBitmap,
): Promise<{ readonly tableOffset: number; readonly tableEntries: number }> {
  const { clusterSize } = writer
  const entries = clustersFor(bitmap, clusterSize)
  const table = new Uint8Array(entries * entrySize)
  const view = viewOf(table)
  const span = clusterSize * 8 * bitmap.granularity
  for (let run = bitmap.nextDirty(0); run !== undefined; ) {
    const index = Math.floor(run.offset / span)
    const whole = run.offset === index * span ? Math.floor(run.length / span) : 0
    for (let i = 0; i < whole; i++) view.setUint32((index + i) * entrySize + 4, loAllOnes)
    if (whole === 0) {
      const bytes = new Uint8Array(clusterSize)
      bitmap.readBits(index * clusterSize * 8, bytes)
      const offset = await writer.allocate(1)
      await writer.write(offset, bytes)
      view.setUint32(index * entrySize, highHalf(offset))
      view.setUint32(index * entrySize + 4, lowHalf(offset))
    }
    run = bitmap.nextDirty((index + Math.max(1, whole)) * span)
  }
  const tableOffset = await writer.allocate(alignUp(table.byteLength, clusterSize) / clusterSize)
  await writer.write(tableOffset, table)
  return { tableOffset, tableEntries: entries }
}

/** The clusters with the bits of `stored`, as far as they are in the file and can be such. */
export async function bitClusters(file: ChildHandle, clusterSize: number, stored: StoredBitmap): Promise<number[]> {
  const table = await readTableInside({ file, clusterSize, unread: file.size }, stored)
  const offsets: number[] = []
  for (let index = 0; index < table.entries; index++) {
    const offset = offsetOf(table.high(index), table.low(index))
    if (offset > 0 && offset < file.size && isAligned(offset, clusterSize)) offsets.push(offset)
  }
  return offsets
}
