/**
 * The numbers of VHDX, little-endian. Source: Microsoft, "[MS-VHDX]: Virtual Hard Disk v2 (VHDX) File Format", sections
 * 2.2 to 2.6.
 *
 *     0         identifier
 *     64 KiB    header │ 128 KiB header │ 192 KiB regions │ 256 KiB regions
 *     1 MiB     log, block allocation table (BAT), metadata and blocks, in any order, each at a multiple of 1 MiB
 *
 * An entry of the table has 64 bits: a state, and where the block stands in units of 1 MiB. Behind the entries of as many
 * blocks as 2^23 sectors have stands one for the sector bitmap of these.
 */

export const unit = 2 ** 20
export const identifier = 'vhdxfile'
export const creatorOffset = 8
export const headerOffsets = [0x10000, 0x20000] as const
export const headerSize = 4096
export const regionOffsets = [0x30000, 0x40000] as const
export const regionSize = 0x10000
export const entrySize = 8
/** Sectors that one sector bitmap tells of. */
export const sectorsPerChunk = 2 ** 23
/** The largest disk: 64 TiB. */
export const maxSize = 64 * 2 ** 40
export const blockSizes = { least: unit, most: 256 * unit } as const

/** Offsets of fields of a header. */
export const HeaderField = {
  signature: 0,
  checksum: 4,
  sequence: 8,
  fileWriteGuid: 16,
  dataWriteGuid: 32,
  logGuid: 48,
  logVersion: 64,
  version: 66,
  logLength: 68,
  logOffset: 72,
} as const

/** Offsets of fields of the table of regions; its entries begin at 16. */
export const RegionField = { signature: 0, checksum: 4, count: 8, entries: 16, entrySize: 32, most: 2047 } as const

/** Offsets of fields of the table of metadata; its entries begin at 32. */
export const MetadataField = {
  signature: 0,
  count: 10,
  entries: 32,
  entrySize: 32,
  most: 2047,
  tableSize: 0x10000,
} as const

/** Of a region or an item that a reader must know. */
export const Required = { region: 1, item: 4 } as const
/** The item belongs to the disk, not to the file. */
export const itemOfDisk = 2

export const Guid = {
  bat: '2dc27766-f623-4200-9d64-115e9bfd4a08',
  metadata: '8b7ca206-4790-4b9a-b8fe-575f050f886e',
  fileParameters: 'caa16737-fa36-4d43-b3b6-33f0aa44e76b',
  diskSize: '2fa54224-cd1b-4876-b211-5dbed83bf4b8',
  diskId: 'beca12ab-b2e6-4523-93ef-c309e000c746',
  logicalSector: '8141bf1d-a96f-4709-ba47-f233a8faab5f',
  physicalSector: 'cda348c7-445d-4471-9cc9-e9885251c556',
  parentLocator: 'a8d35f2d-b30b-454d-abf7-d3d84834ab0c',
  /** Of a parent locator that names another VHDX image. */
  vhdxParent: 'b04aefb7-d19e-4a81-b789-25b8e9445913',
} as const

/** Bits of the file parameters. */
export const Parameter = { leaveAllocated: 1, hasParent: 2 } as const

/** States of a block. */
export const State = { absent: 0, undefined: 1, zero: 2, unmapped: 3, present: 6, partial: 7 } as const

/** The log consists of sectors of this size. */
export const logSector = 4096

/** Offsets of fields of a log entry; its descriptors begin at 64. */
export const LogField = {
  signature: 0,
  checksum: 4,
  length: 8,
  tail: 12,
  sequence: 16,
  descriptors: 24,
  guid: 32,
  flushedEnd: 48,
  lastEnd: 56,
  headerSize: 64,
  descriptorSize: 32,
} as const

const hex = (byte: number): string => byte.toString(16).padStart(2, '0')
/** Where in the text of a GUID its bytes stand: the first three groups are little-endian. */
const guidOrder = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]

/** The text of a GUID, lower case. */
export function guidAt(bytes: Uint8Array, offset: number): string {
  const digits = guidOrder.map((at) => hex(bytes[offset + at] as number)).join('')
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** Writes a GUID. */
export function putGuid(bytes: Uint8Array, offset: number, guid: string): void {
  const digits = guid.replaceAll('-', '')
  for (const [i, at] of guidOrder.entries()) bytes[offset + at] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
}

export const noGuid = '00000000-0000-0000-0000-000000000000'

/** A new GUID of version 4. */
export function newGuid(random: () => number): string {
  const bytes = Uint8Array.from({ length: 16 }, () => Math.floor(random() * 256))
  bytes[7] = ((bytes[7] as number) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] as number) & 0x3f) | 0x80
  return guidAt(bytes, 0)
}
