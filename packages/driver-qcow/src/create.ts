/** Making a new image: the header, and an empty root. */
import { alignUp, BlockError, type CreateContext } from '@diskgraph/core/driver'
import { CryptMethod, entrySize, headerBytes, largestSize, rootOffsetFor, sectorSize } from './header.ts'
import type { QcowCreateOptions } from './options.ts'

/** Small clusters copy less of a backing file, and tables of more entries make up for them. */
const shapes = { alone: { clusterBits: 12, l2Bits: 9 }, overlay: { clusterBits: 9, l2Bits: 12 } } as const

/** What a new image is to be. EINVAL, in QEMU's words, for what the format does not have. */
export function checkSettings(options: Readonly<Record<string, unknown>>) {
  const { backingFile = '', size: wanted } = options as Pick<QcowCreateOptions, 'backingFile' | 'size'>
  const name = backingFile === '' ? undefined : new TextEncoder().encode(backingFile)
  const shape = name === undefined ? shapes.alone : shapes.overlay
  const size = alignUp(wanted, sectorSize)
  if (size === 0) throw new BlockError('EINVAL', 'Image size is too small, cannot be zero length')
  if (size > largestSize(shape.clusterBits, shape.l2Bits)) throw new BlockError('EINVAL', 'Image too large')
  return { ...shape, size, name, rootOffset: rootOffsetFor(name), cryptMethod: CryptMethod.none }
}

/** Writes a new image into `children.file`. */
export async function create(context: CreateContext<Omit<QcowCreateOptions, 'file'>>): Promise<void> {
  const { name, ...header } = checkSettings({ ...context.options })
  const file = context.children.require('file')
  const tables = Math.ceil(header.size / 2 ** (header.clusterBits + header.l2Bits))
  if (file.size > 0) await file.truncate(0)
  await file.truncate(header.rootOffset + alignUp(tables * entrySize, sectorSize), { exact: false })
  await file.write(0, headerBytes(header, name))
}
