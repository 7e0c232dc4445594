/** Footer and dynamic header: checked when they are read, with QEMU's words. */
import { BlockError, divUp, isPowerOfTwo } from '@diskgraph/core/driver'
import {
  DiskType,
  entrySize,
  Footer,
  footerCookie,
  footerSize,
  type Geometry,
  Header,
  headerCookie,
  headerSize,
  largestGeometry,
  maxEntries,
  maxSize,
  sectorSize,
  sectorsOf,
} from './layout.ts'

/** Creators that mean `currentSize`, and not the geometry. */
const exactCreators = new Set(['win ', 'qem2', 'd2v ', 'tap\0', 'CTXS'])

/** How the size of a disk is found: by its creator, or as an option says. */
export type SizeRule = 'chs' | 'current_size'

/** What a footer says. */
export interface Disk {
  /** All of the footer, which is written again as it is. */
  readonly bytes: Uint8Array
  readonly type: number
  readonly uuid: string
  /** Bytes of the disk. */
  readonly size: number
  readonly dataOffset: number
}

/** Whether a footer, or the copy of one, stands here. */
export function hasFooter(bytes: Uint8Array): boolean {
  return bytes.length >= footerCookie.length && text(bytes, Footer.cookie, 8) === footerCookie
}

/** Reads a footer. EINVAL for a wrong checksum. */
export function parseFooter(bytes: Uint8Array, rule: SizeRule | undefined): Disk {
  const view = viewOf(bytes)
  if (view.getUint32(Footer.checksum) !== checksum(bytes, Footer.checksum)) {
    throw new BlockError('EINVAL', 'Incorrect header checksum', {
      hint: 'the footer is damaged: of a dynamic image, the last 512 bytes may be an intact copy of the first',
    })
  }
  const geometry = {
    cylinders: view.getUint16(Footer.cylinders),
    heads: bytes[Footer.heads]!,
    sectorsPerTrack: bytes[Footer.sectorsPerTrack]!,
  }
  const byCreator = exactCreators.has(text(bytes, Footer.creator, 4)) ? 'current_size' : 'chs'
  // The largest geometry stands for all disks that it does not cover.
  const exact = sectorsOf(geometry) === sectorsOf(largestGeometry) || (rule ?? byCreator) === 'current_size'
  const current = Math.floor(numberAt(view, Footer.currentSize) / sectorSize) * sectorSize
  const size = exact ? current : sectorsOf(geometry) * sectorSize
  if (size > maxSize) throw new BlockError('EFBIG', `the disk of ${size} bytes is larger than 2040 GiB`)
  const uuid = uuidText(bytes.subarray(Footer.uuid, Footer.uuid + 16))
  return { bytes, type: view.getUint32(Footer.type), uuid, size, dataOffset: numberAt(view, Footer.dataOffset) }
}

/** What the header of a dynamic image says. */
interface DynamicHeader {
  readonly tableOffset: number
  readonly entries: number
  readonly blockSize: number
}

/** Reads a dynamic header for a disk of `size` bytes. EINVAL. */
export function parseHeader(bytes: Uint8Array, size: number): DynamicHeader {
  const view = viewOf(bytes)
  if (text(bytes, Header.cookie, 8) !== headerCookie) throw new BlockError('EINVAL', 'Invalid header magic')
  const blockSize = view.getUint32(Header.blockSize)
  if (!isPowerOfTwo(blockSize) || blockSize < sectorSize) {
    throw new BlockError('EINVAL', `Invalid block size ${blockSize}`)
  }
  const entries = view.getUint32(Header.entries)
  if (entries > maxEntries) throw new BlockError('EINVAL', `Max Table Entries too large (${entries})`)
  if (entries < divUp(size, blockSize)) throw new BlockError('EINVAL', 'Page table too small')
  return { tableOffset: numberAt(view, Header.tableOffset), entries, blockSize }
}

/** What a new image is. */
interface NewDisk {
  readonly size: number
  readonly geometry: Geometry
  readonly type: number
  /** The size is meant as it is, not as the geometry has it. */
  readonly exact: boolean
  /** 16 random bytes. */
  readonly uuid: Uint8Array
  /** Seconds since the year 2000. */
  readonly time: number
}

/** The footer of a new image. */
export function newFooter({ size, geometry, type, exact, uuid, time }: NewDisk): Uint8Array {
  const bytes = new Uint8Array(footerSize)
  const view = viewOf(bytes)
  put(bytes, Footer.cookie, footerCookie)
  view.setUint32(Footer.features, 2)
  view.setUint32(Footer.version, 0x10000)
  view.setBigUint64(Footer.dataOffset, type === DiskType.fixed ? 2n ** 64n - 1n : BigInt(footerSize))
  view.setUint32(Footer.time, time)
  // Other programs know by these names which size is meant.
  put(bytes, Footer.creator, exact ? 'qem2' : 'qemu')
  view.setUint32(Footer.creatorVersion, 0x50003)
  put(bytes, Footer.creatorSystem, 'Wi2k')
  view.setBigUint64(Footer.originalSize, BigInt(size))
  view.setBigUint64(Footer.currentSize, BigInt(size))
  view.setUint16(Footer.cylinders, geometry.cylinders)
  view.setUint8(Footer.heads, geometry.heads)
  view.setUint8(Footer.sectorsPerTrack, geometry.sectorsPerTrack)
  view.setUint32(Footer.type, type)
  bytes.set(uuid, Footer.uuid)
  view.setUint32(Footer.checksum, checksum(bytes, Footer.checksum))
  return bytes
}

/** The header of a new dynamic image, whose table stands at `tableOffset`. */
export function newHeader(entries: number, blockSize: number, tableOffset: number): Uint8Array {
  const bytes = new Uint8Array(headerSize)
  const view = viewOf(bytes)
  put(bytes, Header.cookie, headerCookie)
  view.setBigUint64(Header.dataOffset, 2n ** 64n - 1n)
  view.setBigUint64(Header.tableOffset, BigInt(tableOffset))
  view.setUint32(Header.version, 0x10000)
  view.setUint32(Header.entries, entries)
  view.setUint32(Header.blockSize, blockSize)
  putHeaderChecksum(bytes)
  return bytes
}

/** Makes the checksum of a dynamic header right. */
export function putHeaderChecksum(bytes: Uint8Array): void {
  viewOf(bytes).setUint32(Header.checksum, checksum(bytes, Header.checksum))
}

/** The text of a UUID, whose bytes are in the order of the text. */
export function uuidText(bytes: Uint8Array): string {
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** Bytes of a table, in whole sectors. */
export function tableSize(entries: number): number {
  return divUp(entries * entrySize, sectorSize) * sectorSize
}

/** The complement of the sum of all bytes but those of the checksum itself. */
function checksum(bytes: Uint8Array, field: number): number {
  let sum = 0
  for (let i = 0; i < bytes.length; i++) if (i < field || i >= field + 4) sum += bytes[i]!
  return ~sum >>> 0
}

function numberAt(view: DataView, offset: number): number {
  const value = view.getBigUint64(offset)
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(value)
}

function text(bytes: Uint8Array, offset: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(offset, offset + length))
}

function put(bytes: Uint8Array, offset: number, value: string): void {
  for (let i = 0; i < value.length; i++) bytes[offset + i] = value.charCodeAt(i)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
