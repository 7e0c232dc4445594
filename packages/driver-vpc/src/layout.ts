/**
 * The numbers of the VHD format, big-endian. Source: Microsoft, "Virtual Hard Disk Image Format Specification" 1.0.
 *
 *     fixed     data │ footer
 *     dynamic   copy of the footer │ header │ (name of the image below) │ table │ blocks: bitmap of sectors, data │ footer
 *
 * An entry of the table is the sector at which the bitmap of a block begins; all ones is none.
 */
import { alignUp, divUp } from '@diskgraph/core/driver'

export const sectorSize = 512
export const footerSize = 512
export const headerSize = 1024
export const entrySize = 4
export const unallocated = 0xffffffff
/** Bytes of a block of a new image. */
export const newBlockSize = 2 ** 21
/** The largest disk: 2040 GiB. */
export const maxSize = 0xff000000 * sectorSize
/** QEMU reads tables with fewer entries than this. */
export const maxEntries = Math.floor((2 ** 31 - 1) / entrySize)

export const footerCookie = 'conectix'
export const headerCookie = 'cxsparse'

/** Values of the footer's `type`. */
export const DiskType = { fixed: 2, dynamic: 3, differencing: 4 } as const

/** Offsets of footer fields. */
export const Footer = {
  cookie: 0,
  features: 8,
  version: 12,
  /** Where the dynamic header stands. */
  dataOffset: 16,
  /** Seconds since the year 2000. */
  time: 24,
  creator: 28,
  creatorVersion: 32,
  creatorSystem: 36,
  originalSize: 40,
  currentSize: 48,
  cylinders: 56,
  heads: 58,
  sectorsPerTrack: 59,
  type: 60,
  checksum: 64,
  uuid: 68,
} as const

/** Offsets of fields of the dynamic header. */
export const Header = {
  cookie: 0,
  dataOffset: 8,
  tableOffset: 16,
  version: 24,
  entries: 28,
  blockSize: 32,
  checksum: 36,
  parentUuid: 40,
  /** UTF-16, big-endian, of 512 bytes. */
  parentName: 64,
  locators: 576,
} as const

/** Fields of a parent locator. */
export const Locator = { most: 8, size: 24, platform: 0, space: 4, length: 8, offset: 16 } as const
/** Platforms whose text is a path on Windows, in UTF-16, little-endian. */
export const locatorPlatform = { relative: 'W2ru', absolute: 'W2ku' } as const

/** Bytes of the bitmap before the data of a block: a bit for each sector, in whole sectors. */
export function bitmapSizeOf(blockSize: number): number {
  return alignUp(divUp(blockSize / sectorSize, 8), sectorSize)
}

/** Cylinders, heads and sectors of a disk. */
export interface Geometry {
  readonly cylinders: number
  readonly heads: number
  readonly sectorsPerTrack: number
}

/** What the geometry of the largest disk that has one says; larger disks have it, too. */
export const largestGeometry: Geometry = { cylinders: 65535, heads: 16, sectorsPerTrack: 255 }

/** Sectors that a geometry covers. */
export function sectorsOf({ cylinders, heads, sectorsPerTrack }: Geometry): number {
  return cylinders * heads * sectorsPerTrack
}

/** The geometry of a disk, by the appendix of the specification. It may cover less. */
function geometryOf(sectors: number): Geometry {
  const total = Math.min(sectors, sectorsOf(largestGeometry))
  if (total >= 65535 * 16 * 63) return geometry(total, 16, 255)
  const few = Math.max(4, Math.ceil(Math.floor(total / 17) / 1024))
  if (Math.floor(total / 17) < few * 1024 && few <= 16) return geometry(total, few, 17)
  if (Math.floor(total / 31) < 16 * 1024) return geometry(total, 16, 31)
  return geometry(total, 16, 63)
}

function geometry(total: number, heads: number, sectorsPerTrack: number): Geometry {
  return { cylinders: Math.floor(Math.floor(total / sectorsPerTrack) / heads), heads, sectorsPerTrack }
}

/** The smallest geometry of the specification that covers a disk; the largest there is for one that none covers. */
export function coveringGeometry(sectors: number): Geometry {
  if (sectors === 0) return { cylinders: 0, heads: 0, sectorsPerTrack: 0 }
  let wanted = sectors
  let found = geometryOf(wanted)
  while (sectorsOf(found) < sectors && sectorsOf(found) < sectorsOf(largestGeometry)) found = geometryOf(++wanted)
  return found
}
