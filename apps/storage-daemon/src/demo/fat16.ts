/**
 * A new FAT16 file system with a few files in its root folder, for the demonstration: something that a guest, `mdir` or
 * `mount` can read.
 *
 *     boot sector │ FAT │ FAT (copy) │ root folder, 512 entries │ clusters from number 2 on
 *
 * Layout: Microsoft, "FAT: General Overview of On-Disk Format", 1.03, sections "Boot Sector and BPB", "FAT Data Structure"
 * and "FAT Directory Structure".
 */
import type { Disk } from '@diskgraph/core'

const sectorSize = 512
const sectorsPerCluster = 4
const clusterSize = sectorSize * sectorsPerCluster
const reservedSectors = 1
const fats = 2
const rootEntries = 512
const entrySize = 32
const rootSectors = (rootEntries * entrySize) / sectorSize
/** With fewer clusters it would be FAT12, with more FAT32. */
const minClusters = 4085
const maxClusters = 65524
const mediaFixed = 0xf8
const endOfChain = 0xffff
const attributeVolume = 0x08
const attributeArchive = 0x20

/** A file of the root folder. */
interface RootFile {
  /** In capitals, at most eight letters, a dot, and at most three: `README.TXT`. */
  readonly name: string
  readonly content: Uint8Array
}

interface Geometry {
  readonly sectors: number
  readonly sectorsPerFat: number
  /** First sector of the clusters. */
  readonly firstData: number
}

/** Makes the file system over the whole of `disk`, which reads as zeroes. RangeError for sizes that FAT16 has not. */
export async function makeFat16(disk: Disk, label: string, files: readonly RootFile[]): Promise<void> {
  const geometry = geometryOf(disk.size)
  const fat = new DataView(new ArrayBuffer(geometry.sectorsPerFat * sectorSize))
  const root = new DataView(new ArrayBuffer(rootSectors * sectorSize))
  fat.setUint16(0, 0xff00 | mediaFixed, true)
  fat.setUint16(2, endOfChain, true)
  putEntry(root, 0, label.padEnd(11), attributeVolume, 0, 0)
  let cluster = 2
  for (const [i, { name, content }] of files.entries()) {
    const count = Math.ceil(content.length / clusterSize)
    putEntry(root, i + 1, shortName(name), attributeArchive, count === 0 ? 0 : cluster, content.length)
    for (let at = 0; at < count; at++) {
      fat.setUint16(2 * (cluster + at), at === count - 1 ? endOfChain : cluster + at + 1, true)
    }
    await disk.write((geometry.firstData + (cluster - 2) * sectorsPerCluster) * sectorSize, content)
    cluster += count
  }
  for (let copy = 0; copy < fats; copy++) {
    await disk.write((reservedSectors + copy * geometry.sectorsPerFat) * sectorSize, bytesOf(fat))
  }
  await disk.write((geometry.firstData - rootSectors) * sectorSize, bytesOf(root))
  await disk.write(0, bootSector(geometry, label))
  await disk.flush()
}

function geometryOf(size: number): Geometry {
  const sectors = Math.floor(size / sectorSize)
  const around = Math.ceil(sectors / sectorsPerCluster)
  const sectorsPerFat = Math.ceil((2 * (around + 2)) / sectorSize)
  const firstData = reservedSectors + fats * sectorsPerFat + rootSectors
  const clusters = Math.floor((sectors - firstData) / sectorsPerCluster)
  if (clusters < minClusters || clusters > maxClusters) {
    throw new RangeError(`no FAT16 file system has ${size} bytes with clusters of ${clusterSize} bytes`)
  }
  return { sectors, sectorsPerFat, firstData }
}

function bootSector({ sectors, sectorsPerFat }: Geometry, label: string): Uint8Array {
  const sector = new DataView(new ArrayBuffer(sectorSize))
  putText(sector, 3, 'DISKGRPH')
  bytesOf(sector).set([0xeb, 0x3c, 0x90])
  sector.setUint16(11, sectorSize, true)
  sector.setUint8(13, sectorsPerCluster)
  sector.setUint16(14, reservedSectors, true)
  sector.setUint8(16, fats)
  sector.setUint16(17, rootEntries, true)
  if (sectors < 65536) sector.setUint16(19, sectors, true)
  else sector.setUint32(32, sectors, true)
  sector.setUint8(21, mediaFixed)
  sector.setUint16(22, sectorsPerFat, true)
  // Sectors of a track and heads, for who still asks.
  sector.setUint16(24, 32, true)
  sector.setUint16(26, 64, true)
  sector.setUint8(36, 0x80)
  sector.setUint8(38, 0x29)
  sector.setUint32(39, 0xd15c64a9, true)
  putText(sector, 43, label.padEnd(11))
  putText(sector, 54, 'FAT16   ')
  sector.setUint16(510, 0xaa55, true)
  return bytesOf(sector)
}

function putEntry(
  root: DataView,
  index: number,
  name: string,
  attributes: number,
  cluster: number,
  size: number,
): void {
  const at = index * entrySize
  putText(root, at, name)
  root.setUint8(at + 11, attributes)
  // 1 January 2026.
  root.setUint16(at + 24, ((2026 - 1980) << 9) | (1 << 5) | 1, true)
  root.setUint16(at + 26, cluster, true)
  root.setUint32(at + 28, size, true)
}

/** `README.TXT` as eleven letters. */
function shortName(name: string): string {
  const [stem = '', extension = ''] = name.split('.')
  return stem.padEnd(8) + extension.padEnd(3)
}

function putText(view: DataView, offset: number, text: string): void {
  bytesOf(view).set(new TextEncoder().encode(text), offset)
}

function bytesOf({ buffer }: DataView): Uint8Array {
  return new Uint8Array(buffer)
}
