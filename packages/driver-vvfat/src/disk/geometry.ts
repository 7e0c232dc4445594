/**
 * How large the disk is and where its parts stand. Sizes follow what QEMU 7.2 shows of a directory, as long as the
 * content fits; numbers are those of Microsoft's "FAT: General Overview of On-Disk Format", version 1.03.
 *
 *     [ table of partitions, empty sectors ]  hard disk only: `hidden` sectors
 *     boot sector, reserved sectors           `reserved` sectors
 *     FAT, FAT                                `fatSectors` each
 *     root directory                          `rootEntries` of 32 bytes; FAT32 has it among the clusters
 *     clusters 2, 3 …                         `clusterSectors` each
 */
import { BlockError, divUp } from '@diskgraph/core/driver'

/** Bits of an entry of the FAT. */
export type FatType = 12 | 16 | 32

export const sectorSize = 512
export const entrySize = 32
/** The first cluster; 0 and 1 are none. */
export const firstCluster = 2
/** Entries that a directory has at most: 2 MiB. */
export const mostEntries = 65536
const fat32Reserved = 32
const usualRootEntries = 512
/** The field has 16 bits, and whole sectors are used. */
const mostRootEntries = 65520
const mostSectors = 2 ** 32 - 1
/** A volume that has to grow gets as much again of free room, as a part of its content and at least in sectors. */
const freeShare = 0.25
const leastFree = 2 ** 17

/** See the top of the file. Sectors unless it says otherwise. */
export interface Geometry {
  readonly fatType: FatType
  /** A whole disk without partitions. */
  readonly floppy: boolean
  readonly media: number
  readonly heads: number
  readonly trackSectors: number
  /** The size of the disk. */
  readonly diskSectors: number
  readonly hidden: number
  /** The size of the volume. */
  readonly sectors: number
  readonly reserved: number
  readonly fatSectors: number
  /** Entries; 0: the root directory is a chain of clusters. */
  readonly rootEntries: number
  readonly clusterSectors: number
  /** How many clusters there are. */
  readonly clusters: number
}

/** What the content needs, known only when the size of a cluster is. */
interface Content {
  /** Entries of the root directory. */
  readonly rootEntries: number
  /** Clusters of all files and directories, without the root directory where it is none of them. */
  clusters(clusterBytes: number, rootIsChain: boolean): number
}

interface Shape {
  readonly media: number
  readonly heads: number
  readonly trackSectors: number
  readonly diskSectors: number
  readonly hidden: number
  readonly clusterSectors: number
}

const floppyShape = { media: 0xf0, heads: 2, hidden: 0 }
const diskShape = { media: 0xf8, heads: 16, trackSectors: 63, hidden: 63 }
const cylinder = diskShape.heads * diskShape.trackSectors

/** The geometry of a disk for `content`; `fatType` 0 is that which is usual. ENOSPC when the content does not fit. */
export function geometryFor(fatType: FatType | 0, floppy: boolean, content: Content): Geometry {
  const type = fatType === 0 ? (floppy ? 12 : 16) : fatType
  const geometry =
    type === 32 ? fat32(floppy, content) : fixed(type, shapeOf(type, floppy, fatType === 0), floppy, content)
  const needed = content.clusters(geometry.clusterSectors * sectorSize, type === 32)
  if (needed <= geometry.clusters) return geometry
  // QEMU's megabyte is 2000 sectors.
  const capacity = (geometry.sectors / 2000).toFixed(2)
  throw new BlockError('ENOSPC', `Directory does not fit in FAT${type} (capacity ${capacity} MB)`, {
    ...(type === 32 ? {} : { hint: 'fat-type=32 makes the disk as large as the directory needs' }),
  })
}

function shapeOf(type: 12 | 16, floppy: boolean, isUsual: boolean): Shape {
  if (!floppy) {
    const cylinders = type === 12 ? 64 : 1024
    return { ...diskShape, diskSectors: cylinders * cylinder, clusterSectors: 16 }
  }
  // 2.88 MB, or 1.44 MB where FAT12 is asked for. FAT16 needs 4085 clusters, or readers take it for FAT12.
  const trackSectors = type === 12 && !isUsual ? 18 : 36
  return { ...floppyShape, trackSectors, diskSectors: 160 * trackSectors, clusterSectors: type === 16 ? 1 : 16 }
}

function fixed(fatType: 12 | 16, shape: Shape, floppy: boolean, content: Content): Geometry {
  const perSector = sectorSize / entrySize
  const rootEntries = Math.max(usualRootEntries, divUp(content.rootEntries, perSector) * perSector)
  if (rootEntries > mostRootEntries) {
    throw new BlockError(
      'ENOSPC',
      `Too many entries in root directory: ${content.rootEntries}, ${mostRootEntries} fit`,
      {
        hint: 'fat-type=32 has no such limit',
      },
    )
  }
  return laidOut({ ...shape, fatType, floppy, reserved: 1, rootEntries })
}

/** As large as a disk with FAT16, with smaller clusters, for less than 65525 of them were FAT16; larger where it has to be. */
function fat32(floppy: boolean, content: Content): Geometry {
  const common = { fatType: 32, floppy, reserved: fat32Reserved, rootEntries: 0 } as const
  const shape = { ...diskShape, ...(floppy ? { hidden: 0 } : {}) }
  const usual = laidOut({ ...shape, ...common, diskSectors: 1024 * cylinder, clusterSectors: 8 })
  if (content.clusters(8 * sectorSize, true) <= usual.clusters) return usual
  for (const clusterSectors of [8, 16, 32, 64]) {
    const needed = content.clusters(clusterSectors * sectorSize, true) * clusterSectors
    // Clusters of usual sizes, by the table of the specification.
    if (clusterSectors < 64 && needed > clusterSectors * 2 ** 21) continue
    const wanted = needed + Math.max(Math.ceil(needed * freeShare), leastFree)
    const cylinders = Math.min(divUp(wanted, 255 * 63), Math.floor(mostSectors / (255 * 63)))
    return laidOut({ ...shape, ...common, heads: 255, diskSectors: cylinders * 255 * 63, clusterSectors })
  }
  return usual
}

type Unfinished = Omit<Geometry, 'sectors' | 'fatSectors' | 'clusters'>

function laidOut(shape: Unfinished): Geometry {
  const { fatType, reserved, rootEntries, clusterSectors } = shape
  const sectors = shape.diskSectors - shape.hidden
  const rootSectors = divUp(rootEntries * entrySize, sectorSize)
  // As if the FATs took no room: at most a few entries more than are needed.
  const entries = Math.floor((sectors - reserved - rootSectors) / clusterSectors) + firstCluster
  const fatSectors = divUp(entries * fatType, 8 * sectorSize)
  const clusters = Math.floor((sectors - reserved - 2 * fatSectors - rootSectors) / clusterSectors)
  return { ...shape, sectors, fatSectors, clusters }
}

/** Where the parts of the volume begin on the disk, in bytes. */
export function placesOf(geometry: Geometry): {
  readonly boot: number
  readonly fat: number
  readonly root: number
  readonly data: number
} {
  const { hidden, reserved, fatSectors, rootEntries } = geometry
  const root = hidden + reserved + 2 * fatSectors
  const data = root + divUp(rootEntries * entrySize, sectorSize)
  return {
    boot: hidden * sectorSize,
    fat: (hidden + reserved) * sectorSize,
    root: root * sectorSize,
    data: data * sectorSize,
  }
}

/** Where a cluster begins on the disk, in bytes. */
export function offsetOf(geometry: Geometry, cluster: number): number {
  return placesOf(geometry).data + (cluster - firstCluster) * geometry.clusterSectors * sectorSize
}

/** The cluster that a byte of the disk belongs to; below the first one for what stands before them. */
export function clusterAt(geometry: Geometry, offset: number): number {
  return firstCluster + Math.floor((offset - placesOf(geometry).data) / (geometry.clusterSectors * sectorSize))
}
