/** Making a new image; the footer at the start of the file is written last. */
import { alignUp, BlockError, type CreateContext, divUp } from '@diskgraph/core/driver'
import {
  coveringGeometry,
  footerSize,
  headerSize,
  largestGeometry,
  maxSize,
  newBlockSize,
  sectorSize,
  sectorsOf,
} from './layout.ts'
import type { VpcCreateOptions } from './options.ts'
import { newFooter, newHeader, tableSize } from './structures.ts'

const piece = 2 ** 20
/** Seconds from 1970 to 2000. */
const year2000 = 946_684_800

/** The size of a new disk. EFBIG above 2040 GiB. */
export function checkSize(options: Readonly<Record<string, unknown>>): number {
  const size = alignUp(options.size as number, sectorSize)
  if (size > maxSize) throw new BlockError('EFBIG', "The image size is too large for file format 'vpc'")
  return size
}

/** Writes a new image into `children.file`. */
export async function create(context: CreateContext<Omit<VpcCreateOptions, 'file'>>): Promise<void> {
  const { options, random, clock } = context
  const wanted = checkSize({ ...options })
  const exact = options.forceSize === true
  const isFixed = options.subformat === 'fixed'
  const geometry = exact ? largestGeometry : coveringGeometry(wanted / sectorSize)
  const covered = sectorsOf(geometry) * sectorSize
  const size = exact || covered < wanted ? wanted : covered
  const uuid = Uint8Array.from({ length: 16 }, () => Math.floor(random() * 256))
  uuid[6] = (uuid[6]! & 0x0f) | 0x40
  uuid[8] = (uuid[8]! & 0x3f) | 0x80
  const time = Math.max(0, Math.floor(clock.wallTime() / 1000) - year2000)
  const footer = newFooter({ size, geometry, isFixed, exact, uuid, time })
  const file = context.children.require('file')
  if (file.size > 0) await file.truncate(0)
  if (isFixed) {
    await file.truncate(size)
    await file.write(size, footer)
    return
  }
  const entries = divUp(size, newBlockSize)
  const table = footerSize + headerSize
  const bytes = tableSize(entries)
  for (let at = 0; at < bytes; at += piece) {
    await file.write(table + at, new Uint8Array(Math.min(piece, bytes - at)).fill(0xff))
  }
  await file.write(table + bytes, footer)
  await file.write(footerSize, newHeader(entries, newBlockSize))
  await file.write(0, footer)
}
