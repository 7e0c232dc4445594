/**
 * Growing images of Bochs, read-only. Source: "redolog" in the Bochs user manual, and images that bximage wrote.
 *
 *     header, 512 bytes or as many as it says
 *     catalog    a little-endian 32-bit number of each extent's place, counted in extents; all ones is none
 *     extents    bitmap of the sectors that were written, in whole sectors │ data
 */
import {
  alignUp,
  BlockError,
  type BlockStatus,
  type Child,
  type ChildHandle,
  type DriverDescriptor,
  type DriverInfo,
  defineDriver,
  type OpenContext,
  type OpenImage,
} from '@diskgraph/core/driver'

/** Options of a `bochs` node. */
export interface BochsOptions {
  /** Where the image stands. */
  file: Child
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    bochs: { open: BochsOptions }
  }
}

const sectorSize = 512
const headerSize = 512
const unallocated = 0xffffffff
const largestExtent = 0x800000
const largestCatalog = 0x100000

/** Offsets of header fields. */
const Field = {
  magic: 0,
  type: 32,
  subtype: 48,
  version: 64,
  headerSize: 68,
  catalog: 72,
  bitmap: 76,
  extent: 80,
  /** Of version 2; there is a time before it, which version 1 lacks. */
  disk: 88,
  disk1: 84,
} as const

interface Header {
  /** Bytes of the disk. */
  readonly size: number
  readonly catalogOffset: number
  readonly entries: number
  /** Bytes of an extent's bitmap, in whole sectors. */
  readonly bitmapSize: number
  readonly extentSize: number
}

class BochsImage implements OpenImage {
  readonly limits = { alignment: sectorSize }
  readonly size: number
  readonly #file: ChildHandle
  readonly #header: Header
  readonly #catalog: DataView

  constructor(file: ChildHandle, header: Header, catalog: Uint8Array) {
    this.#file = file
    this.#header = header
    this.#catalog = new DataView(catalog.buffer)
    this.size = header.size
  }

  async read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    const { extentSize } = this.#header
    for (let done = 0; done < buf.length; ) {
      const index = Math.floor((offset + done) / extentSize)
      const inside = offset + done - index * extentSize
      const part = buf.subarray(done, done + extentSize - inside)
      const start = this.#extent(index)
      if (start === undefined) part.fill(0)
      else await this.#readExtent(start, inside, part, signal)
      done += part.length
    }
  }

  /** Reads within one extent, whose bitmap stands at `start`: sectors that were never written are zeroes. */
  async #readExtent(start: number, inside: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const first = inside / sectorSize
    const sectors = buf.length / sectorSize
    const firstByte = Math.floor(first / 8)
    const bits = new Uint8Array(Math.floor((first + sectors - 1) / 8) + 1 - firstByte)
    await this.#file.read(start + firstByte, bits, 0, signal)
    const isWritten = (sector: number): boolean => {
      const bit = first + sector
      return ((bits[Math.floor(bit / 8) - firstByte]! >> (bit % 8)) & 1) === 1
    }
    for (let at = 0; at < sectors; ) {
      const written = isWritten(at)
      let end = at + 1
      while (end < sectors && isWritten(end) === written) end++
      const run = buf.subarray(at * sectorSize, end * sectorSize)
      const host = start + this.#header.bitmapSize + inside + at * sectorSize
      if (written) await this.#file.read(host, run, 0, signal)
      else run.fill(0)
      at = end
    }
  }

  /** Where the bitmap of an extent stands; undefined where there is none. */
  #extent(index: number): number | undefined {
    const { catalogOffset, entries, bitmapSize, extentSize } = this.#header
    const entry = this.#catalog.getUint32(index * 4, true)
    if (entry === unallocated) return undefined
    const start = catalogOffset + entries * 4 + entry * (bitmapSize + extentSize)
    if (start >= this.#file.size) {
      throw new BlockError('EIO', `entry ${index} of the catalog points behind the end of the file`)
    }
    return start
  }

  async blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const { extentSize } = this.#header
    const index = Math.floor(offset / extentSize)
    const none = this.#extent(index) === undefined
    return {
      length: Math.min(length, (index + 1) * extentSize - offset),
      data: !none,
      zero: none,
      allocated: true,
    }
  }

  info(): Promise<DriverInfo> {
    return Promise.resolve({})
  }
}

function isBochs(head: Uint8Array): boolean {
  if (head.length < headerSize) return false
  const version = viewOf(head).getUint32(Field.version, true)
  return (
    textAt(head, Field.magic) === 'Bochs Virtual HD Image' &&
    textAt(head, Field.type) === 'Redolog' &&
    textAt(head, Field.subtype) === 'Growing' &&
    (version === 0x10000 || version === 0x20000)
  )
}

/** Checks the first 512 bytes of a file, with QEMU's words. */
function parseHeader(bytes: Uint8Array): Header {
  if (!isBochs(bytes)) throw new BlockError('EINVAL', 'Image not in Bochs format')
  const view = viewOf(bytes)
  const disk = view.getBigUint64(view.getUint32(Field.version, true) === 0x10000 ? Field.disk1 : Field.disk, true)
  const entries = view.getUint32(Field.catalog, true)
  const extentSize = view.getUint32(Field.extent, true)
  if (entries > largestCatalog) throw new BlockError('EFBIG', 'Catalog size is too large')
  if (extentSize < sectorSize) throw new BlockError('EINVAL', `Extent size must be at least ${sectorSize}`)
  if (2 ** Math.round(Math.log2(extentSize)) !== extentSize) {
    throw new BlockError('EINVAL', `Extent size ${extentSize} is not a power of two`)
  }
  if (extentSize > largestExtent) throw new BlockError('EINVAL', `Extent size ${extentSize} is too large`)
  if (disk > BigInt(entries) * BigInt(extentSize)) {
    throw new BlockError('EINVAL', 'Catalog size is too small for this disk size')
  }
  return {
    size: Math.floor(Number(disk) / sectorSize) * sectorSize,
    catalogOffset: view.getUint32(Field.headerSize, true),
    entries,
    bitmapSize: Math.max(sectorSize, alignUp(view.getUint32(Field.bitmap, true), sectorSize)),
    extentSize,
  }
}

function textAt(bytes: Uint8Array, offset: number): string {
  const text = String.fromCharCode(...bytes.subarray(offset, offset + 32))
  const end = text.indexOf('\0')
  return end < 0 ? text : text.slice(0, end)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

async function open(context: OpenContext<BochsOptions>): Promise<OpenImage> {
  const file = context.children.require('file')
  const bytes = new Uint8Array(headerSize)
  await file.read(0, bytes)
  const header = parseHeader(bytes)
  const end = header.catalogOffset + header.entries * 4
  if (end > file.size) {
    throw new BlockError('EINVAL', `the catalog ends at ${end}, behind the end of the file (${file.size})`)
  }
  const catalog = new Uint8Array(header.entries * 4)
  await file.read(header.catalogOffset, catalog)
  return new BochsImage(file, header, catalog)
}

/** The driver `bochs`. */
export const bochs: DriverDescriptor = defineDriver<BochsOptions>()({
  name: 'bochs',
  kind: 'format',
  description: 'Growing images of Bochs, read-only.',
  imageMethods: ['blockStatus'],
  options: { file: { type: 'child', role: 'storage', required: true, description: 'Where the image stands' } },
  readOnly: true,
  probe: (head) => (isBochs(head) ? 100 : 0),
  open,
})
