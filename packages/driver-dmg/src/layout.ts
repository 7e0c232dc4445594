/**
 * The numbers of UDIF images, big-endian. Sources: "Demystifying the DMG File Format" (newosxbook.com), and images of
 * macOS; the resource fork: "Inside Macintosh: More Macintosh Toolbox", Resource File Format.
 */

export const sectorSize = 512

/** The trailer, near the end of the file. */
export const Trailer = {
  size: 512,
  version: 4,
  headerSize: 8,
  dataForkOffset: 24,
  resourceForkOffset: 40,
  resourceForkLength: 48,
  segmentCount: 60,
  propertyListOffset: 216,
  propertyListLength: 224,
  sectors: 492,
} as const

/** A table of chunks, that of one partition. */
export const Table = {
  firstSector: 8,
  dataOffset: 24,
  chunkCount: 200,
  chunks: 204,
} as const

/** An entry of a table. Sectors count from the first one of the table, offsets from its data. */
export const Chunk = {
  size: 40,
  kind: 0,
  sector: 8,
  sectors: 16,
  offset: 24,
  length: 32,
} as const

/** Kinds of chunks. */
export const Kind = {
  zero: 0,
  raw: 1,
  ignored: 2,
  comment: 0x7ffffffe,
  adc: 0x80000004,
  zlib: 0x80000005,
  bzip2: 0x80000006,
  lzfse: 0x80000007,
  lzma: 0x80000008,
  end: 0xffffffff,
} as const

/** The largest resource fork or property list. */
export const largestTables = 2 ** 24
/** The most that a compressed chunk may come to, and that it may take. */
export const largestChunk = 2 ** 26
