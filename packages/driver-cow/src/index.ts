/** COW images, of User-mode Linux and of QEMU up to 2.1. */
import {
  BlockError,
  type CreateContext,
  type DriverDescriptor,
  defineDriver,
  divUp,
  type OpenContext,
  type OpenImage,
} from '@diskgraph/core/driver'
import { readBackingName, readTable } from '@diskgraph/sparse'
import { hasMagic, headerBytes, newHeader, parseHeader, sectorSize } from './header.ts'
import { CowImage } from './image.ts'
import { type CowCreateOptions, type CowOptions, createOptions, options } from './options.ts'

export type { CowCreateOptions, CowOptions } from './options.ts'

async function open(context: OpenContext<CowOptions>): Promise<OpenImage> {
  const { children, readOnly, inspect } = context
  const file = children.require('file')
  const bytes = new Uint8Array(headerBytes)
  await file.read(0, bytes)
  const header = parseHeader(bytes)
  const { size, bitmapOffset, dataOffset } = header
  if (file.size < bitmapOffset + divUp(size / sectorSize, 8)) {
    throw new BlockError('EINVAL', `the bitmap of the image ends behind the end of the file (${file.size} bytes)`)
  }
  // Whole words: what is behind the last bit belongs to no sector, and data begins behind it.
  const bitmap = await readTable(file, bitmapOffset, divUp(size / sectorSize, 32), true)
  const backingName = await readBackingName(file, header.name)
  if (backingName !== undefined && !inspect) await context.reference('backing', { filename: backingName })
  if (dataOffset > file.size && !readOnly && !inspect) await file.truncate(dataOffset, { exact: false })
  return new CowImage({ file, header, bitmap, backingName, readOnly, backing: () => children.get('backing') })
}

/** Writes a new image into `children.file`. */
async function create(context: CreateContext<Omit<CowCreateOptions, 'file'>>): Promise<void> {
  const { size, backingFile = '' } = context.options
  const { bytes, length } = newHeader(size, backingFile)
  const file = context.children.require('file')
  if (file.size > 0) await file.truncate(0)
  await file.truncate(length, { exact: false })
  await file.write(0, bytes)
}

/** The driver `cow`. */
export const cow: DriverDescriptor = defineDriver<CowOptions, CowCreateOptions>()({
  name: 'cow',
  kind: 'format',
  description: 'COW images of User-mode Linux and of old versions of QEMU.',
  options,
  createOptions,
  probe: (head) => (hasMagic(head) ? 100 : 0),
  open,
  validateCreate: ({ size, backingFile = '' }) => {
    newHeader(size as number, backingFile as string)
  },
  create,
})
