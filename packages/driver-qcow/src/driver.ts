/** The descriptor of this driver, for a platform's deflate. */
import {
  alignUp,
  BlockError,
  type ChildHandle,
  type CreateContext,
  type DriverDescriptor,
  defineDriver,
  type OpenContext,
  type OpenImage,
} from '@diskgraph/core/driver'
import type { Inflate } from './compressed-clusters.ts'
import {
  entrySize,
  type Header,
  hasMagic,
  headerBytes,
  headerSize,
  l1Entries,
  longestName,
  parseHeader,
  sectorSize,
} from './header.ts'
import { QcowImage } from './image.ts'
import { createOptions, options, type QcowCreateOptions, type QcowOptions } from './options.ts'

async function open(context: OpenContext<QcowOptions>, inflate: Inflate): Promise<OpenImage> {
  const { children, readOnly, inspect } = context
  const file = children.require('file')
  const bytes = new Uint8Array(headerSize)
  await file.read(0, bytes)
  const header = parseHeader(bytes)
  if (header.l1Offset + l1Entries(header) * entrySize > file.size) {
    throw new BlockError('EINVAL', 'the L1 table of the image ends behind the file')
  }
  const backingName = await readName(file, header)
  if (backingName !== undefined && !inspect) await context.reference('backing', { filename: backingName })
  return new QcowImage({ file, header, backingName, readOnly, inflate, backing: () => children.get('backing') })
}

async function readName(file: ChildHandle, { name }: Header): Promise<string | undefined> {
  if (name === undefined) return undefined
  const bytes = new Uint8Array(name.length)
  await file.read(name.offset, bytes)
  const text = new TextDecoder().decode(bytes)
  if (text.includes('\0')) throw new BlockError('EINVAL', 'the name of the backing file has a zero byte in it')
  return text
}

/** The header of a new image. EINVAL for a disk without a size; EINVAL, too, when it is too large. */
function newHeader({ size, backingFile = '' }: Omit<QcowCreateOptions, 'file'>): Header {
  const length = new TextEncoder().encode(backingFile).length
  if (size === 0) throw new BlockError('EINVAL', 'Image size is too small, cannot be zero length')
  if (length > longestName) throw new BlockError('EINVAL', 'Backing file name too long')
  const name = length === 0 ? undefined : { offset: headerSize, length }
  // Small clusters copy little of a backing file.
  const bits = name === undefined ? { clusterBits: 12, l2Bits: 9 } : { clusterBits: 9, l2Bits: 12 }
  const header = { size: alignUp(size, sectorSize), ...bits, l1Offset: alignUp(headerSize + length, 8), name }
  parseHeader(headerBytes(header))
  return header
}

/** Writes a new image into `children.file`: an empty L1 table, then the header. */
async function create({ options, children }: CreateContext<Omit<QcowCreateOptions, 'file'>>): Promise<void> {
  const header = newHeader(options)
  const file = children.require('file')
  if (file.size > 0) await file.truncate(0)
  const end = header.l1Offset + l1Entries(header) * entrySize
  await file.truncate(alignUp(end, 2 ** header.clusterBits), { exact: false })
  const name = new TextEncoder().encode(options.backingFile ?? '')
  const bytes = new Uint8Array(headerSize + name.length)
  bytes.set(headerBytes(header))
  bytes.set(name, headerSize)
  await file.write(0, bytes)
}

/** Makes the descriptor. */
export function qcowDriver(inflate: Inflate): DriverDescriptor {
  return defineDriver<QcowOptions, QcowCreateOptions>()({
    name: 'qcow',
    kind: 'format',
    description: "QEMU's first copy-on-write format.",
    options,
    createOptions,
    probe: (head) => (hasMagic(head) ? 100 : 0),
    open: (context) => open(context, inflate),
    validateCreate: (all) => {
      newHeader(all as unknown as QcowCreateOptions)
    },
    create,
  })
}
