/**
 * The numbers of VMDK, little-endian. Sources: VMware, "Virtual Disk Format" 1.1 and 5.0; J. Metz, "VMWare Virtual Disk
 * Format (VMDK)", the documentation of libvmdk.
 *
 *     descriptor   text: what the disk is, and which extents it consists of
 *     hosted       header │ descriptor │ second directory, tables │ directory, tables │ grains     (sparse extent)
 *     stream       header │ descriptor │ markers with grains, tables, directory │ footer │ end     (the same, compressed)
 *     ESX          header │ directory │ tables and grains                                          (sparse extent, "COWD")
 *
 * An entry of a directory is the sector of a table, one of a table the sector of a grain; 0 is none.
 */

export const sectorSize = 512
export const entrySize = 4
/** A descriptor is read so far. */
export const longestDescriptor = 2 ** 20 - 1
/** Of a disk without a parent. */
export const noParent = 0xffffffff
/** Bytes of an extent of the kinds whose names begin with twoGbMaxExtent. */
export const splitSize = 2 ** 31

export const hostedMagic = 'KDMV'
export const esxMagic = 'COWD'

/** Offsets of fields of a hosted sparse extent's header. */
export const Hosted = {
  magic: 0,
  version: 4,
  flags: 8,
  capacity: 12,
  grainSize: 20,
  descriptorOffset: 28,
  descriptorSize: 36,
  tableEntries: 44,
  secondRoot: 48,
  root: 56,
  overhead: 64,
  dirty: 72,
  lineEnds: 73,
  compression: 77,
} as const

/** Offsets of fields of an ESX sparse extent's header. */
export const Esx = { capacity: 12, grainSize: 16, root: 20, rootEntries: 24, nextFree: 28 } as const
export const esxHeaderSize = 2048
export const esxTableEntries = 4096

/** Bits of `flags`. */
export const HeaderFlag = {
  lineEnds: 1,
  secondRoot: 2,
  zeroGrains: 4,
  compressed: 0x10000,
  markers: 0x20000,
} as const

/** `root` of a header says that the one before the end of the file counts. */
export const rootAtEnd = 0xffffffff_ffffffffn
/** From the end of the file to the header there. */
export const footerDistance = 1024
/** What files that were transferred as text have lost. */
export const lineEnds = '\n \r\n'
/** Deflate. */
export const compressionMethod = 1
/** The entry of a grain that reads as zeroes. */
export const zeroEntry = 1
/** Bytes before the data of a compressed grain: its first sector on the disk, and the length of the data. */
export const markerSize = 12
/** The type in a marker of a sector that has no data of its own: what follows it, in as many sectors as it says. */
export const Marker = { end: 0, table: 1, directory: 2, footer: 3 } as const

/** What QEMU writes, as VMware does: grains of 64 KiB, tables of 512 entries, 20 sectors for the descriptor. */
export const NewExtent = { grainSectors: 128, tableEntries: 512, descriptorOffset: 1, descriptorSectors: 20 } as const

/** The largest of each that is read. */
export const Most = { grainSectors: 0x200000, tableEntries: 512, rootEntries: 512 * 2 ** 20, extents: 4096 } as const
