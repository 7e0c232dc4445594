/**
 * Stamped sectors: the content of each sector that a test writes tells which operation wrote it, and where.
 *
 *     0        4            8             12                    512
 *     "stmp"   operation    sector        bytes made of both
 *
 * A sector that is neither zero nor a whole stamp for its own place is torn, stale or foreign.
 */
const magic = 0x73746d70

/** The identity of a sector of zeroes. */
export const zeroStamp = 0

/** The identity of a sector that is no stamp of its place. */
export const foreignStamp = -1

/** Bytes of a sector. */
export const sectorSize = 512

/** Fills `buf`, which begins with sector `first` of the disk, with stamps of `operation` (from 1). */
export function stamp(buf: Uint8Array, first: number, operation: number): void {
  const view = new DataView(buf.buffer, buf.byteOffset, buf.byteLength)
  for (let at = 0; at < buf.length; at += sectorSize) {
    const sector = first + at / sectorSize
    view.setUint32(at, magic)
    view.setUint32(at + 4, operation)
    view.setUint32(at + 8, sector)
    buf.fill((operation * 31 + sector * 7 + 1) % 256, at + 12, at + sectorSize)
  }
}

/** Which operation wrote the sector that starts at `at` in `buf` and is number `sector` of the disk. */
export function readStamp(buf: Uint8Array, at: number, sector: number): number {
  const view = new DataView(buf.buffer, buf.byteOffset + at, sectorSize)
  if (view.getUint32(0) === 0) {
    for (let i = 4; i < sectorSize; i++) if (buf[at + i] !== 0) return foreignStamp
    return zeroStamp
  }
  const operation = view.getUint32(4)
  if (view.getUint32(0) !== magic || view.getUint32(8) !== sector) return foreignStamp
  const filler = (operation * 31 + sector * 7 + 1) % 256
  for (let i = 12; i < sectorSize; i++) if (buf[at + i] !== filler) return foreignStamp
  return operation
}

/** Whether some sector of `data`, taken from any 512-byte boundary of it, begins with a stamp. */
export function holdsStamp(data: Uint8Array): boolean {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  for (let at = 0; at + 4 <= data.length; at += sectorSize) if (view.getUint32(at) === magic) return true
  return false
}
