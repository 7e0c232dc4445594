/**
 * The numbers of the VDI format: header version 1.1, little-endian. Source: the forum post "All about VDIs" of
 * VirtualBox's developers, and images that VirtualBox and QEMU's tools wrote.
 *
 *     0          header: text, signature, version, fields below
 *     bmapOffset block map: a 32-bit number of each block's place among the data; two values stand for no block
 *     dataOffset blocks of 1 MiB, in the order in which they were first written
 */

export const sectorSize = 512
export const headerSize = 512
/** Bytes of a block of guest data; others are not supported. */
export const blockSize = 2 ** 20
export const signature = 0xbeda107f
export const version = 0x00010001
export const entrySize = 4

/** Values of `imageType`. */
export const ImageType = { dynamic: 1, static: 2 } as const

/** Values of a map entry that stand for no block. */
export const Entry = {
  /** Never written, or discarded: reads as zeroes. */
  unallocated: 0xffffffff,
  zero: 0xfffffffe,
} as const

/** The largest number of blocks, as in QEMU: what keeps the map below 2 GiB. */
export const maxBlocks = 0x1fffff80
export const maxSize = maxBlocks * blockSize

/** Offsets of header fields. */
export const Field = {
  text: 0x00,
  signature: 0x40,
  version: 0x44,
  /** Bytes of the header from this field on. */
  headerSize: 0x48,
  imageType: 0x4c,
  imageFlags: 0x50,
  bmapOffset: 0x154,
  dataOffset: 0x158,
  sectorSize: 0x168,
  diskSize: 0x170,
  blockSize: 0x178,
  blockExtra: 0x17c,
  blocks: 0x180,
  blocksAllocated: 0x184,
  uuid: 0x188,
  uuidSnapshot: 0x198,
  uuidLink: 0x1a8,
  uuidParent: 0x1b8,
} as const

/** What stands in the header from `headerSize` on. */
export const headerTail = 0x180
