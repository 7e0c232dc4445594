/** Making a new image; the footer at the start of the file is written last. */
import {
  alignUp,
  BlockError,
  type CreateContext,
  divUp,
  type Measurement,
  type MeasureRequest,
} from '@diskgraph/core/driver'
import { neededClusters } from '@diskgraph/sparse'
import {
  bitmapSizeOf,
  coveringGeometry,
  DiskType,
  footerSize,
  headerSize,
  largestGeometry,
  maxSize,
  newBlockSize,
  sectorSize,
  sectorsOf,
} from './layout.ts'
import type { VpcCreateOptions } from './options.ts'
import { locatorText, type ParentName, putParent } from './parent.ts'
import { newFooter, newHeader, tableSize } from './structures.ts'

const piece = 2 ** 20
/** Seconds from 1970 to 2000. */
const year2000 = 946_684_800

/** The size of a new disk. EFBIG above 2040 GiB. */
function checkSize(options: Readonly<Record<string, unknown>>): number {
  const size = alignUp(options.size as number, sectorSize)
  if (size > maxSize) throw new BlockError('EFBIG', "The image size is too large for file format 'vpc'")
  return size
}

/** Checks what goes together. EINVAL, ENOTSUP, EFBIG. */
export function checkSettings(options: Readonly<Record<string, unknown>>): void {
  checkSize(options)
  const { backingFile, backingFmt, subformat } = options
  if (backingFile === undefined) return
  if (subformat === 'fixed') throw new BlockError('ENOTSUP', "Fixed image can't have backing file")
  if (backingFmt !== undefined && backingFmt !== 'vpc') {
    throw new BlockError('EINVAL', 'backing_file must be a vpc image')
  }
}

async function parentOf({ options, describe }: CreateContext<Settings>): Promise<ParentName | undefined> {
  const { backingFile: filename } = options
  if (filename === undefined) return undefined
  const { contentId: uuid } = await describe({ filename, format: 'vpc' })
  if (uuid === undefined) throw new BlockError('EINVAL', 'backing_file must be a vpc image')
  return { filename, uuid }
}

/** The size that a new disk gets, and its geometry. */
export function shapeOf(options: Readonly<Record<string, unknown>>) {
  const wanted = checkSize(options)
  const exact = options.forceSize === true
  const geometry = exact ? largestGeometry : coveringGeometry(wanted / sectorSize)
  const covered = sectorsOf(geometry) * sectorSize
  return { size: exact || covered < wanted ? wanted : covered, geometry, exact, isFixed: options.subformat === 'fixed' }
}

/** Footers, header, table, and the blocks that the content needs, each with its bitmap. */
export async function measure(request: MeasureRequest): Promise<Measurement> {
  const { size, isFixed } = shapeOf({ ...request.options, size: Math.max(request.size, 0) })
  if (isFixed) return { required: size + footerSize, fullyAllocated: size + footerSize }
  const entries = divUp(size, newBlockSize)
  const metadata = 2 * footerSize + headerSize + tableSize(entries)
  const block = newBlockSize + bitmapSizeOf(newBlockSize)
  let blocks = 0
  for await (const { start, end } of neededClusters(request.extents, newBlockSize))
    blocks += (end - start) / newBlockSize
  return { required: metadata + blocks * block, fullyAllocated: metadata + entries * block }
}

/** A new UUID, and the time of now, in seconds since the year 2000. */
export function markOf({ random, clock }: Pick<CreateContext, 'random' | 'clock'>): { uuid: Uint8Array; time: number } {
  const uuid = Uint8Array.from({ length: 16 }, () => Math.floor(random() * 256))
  uuid[6] = (uuid[6]! & 0x0f) | 0x40
  uuid[8] = (uuid[8]! & 0x3f) | 0x80
  return { uuid, time: Math.max(0, Math.floor(clock.wallTime() / 1000) - year2000) }
}

type Settings = Omit<VpcCreateOptions, 'file'>

/** Writes a new image into `children.file`. */
export async function create(context: CreateContext<Settings>): Promise<void> {
  const { options, random, clock } = context
  const { size, geometry, exact, isFixed } = shapeOf({ ...options })
  const parent = await parentOf(context)
  const type = isFixed ? DiskType.fixed : parent === undefined ? DiskType.dynamic : DiskType.differencing
  const footer = newFooter({ size, geometry, type, exact, ...markOf({ random, clock }) })
  const file = context.children.require('file')
  if (file.size > 0) await file.truncate(0)
  if (isFixed) {
    await file.truncate(size)
    await file.write(size, footer)
    return
  }
  const entries = divUp(size, newBlockSize)
  const behind = footerSize + headerSize
  const name = parent === undefined ? new Uint8Array(0) : locatorText(parent.filename)
  const table = behind + name.length
  const bytes = tableSize(entries)
  for (let at = 0; at < bytes; at += piece) {
    await file.write(table + at, new Uint8Array(Math.min(piece, bytes - at)).fill(0xff))
  }
  await file.write(table + bytes, footer)
  const header = newHeader(entries, newBlockSize, table)
  if (parent !== undefined) {
    putParent(header, parent, behind)
    await file.write(behind, name)
  }
  await file.write(footerSize, header)
  await file.write(0, footer)
}
