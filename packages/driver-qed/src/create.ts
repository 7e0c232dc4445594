/** Making a new image: an empty root, then the header. */
import { alignUp, BlockError, type CreateContext, type Measurement, type MeasureRequest } from '@diskgraph/core/driver'
import { neededClusters } from '@diskgraph/sparse'
import {
  checkSize,
  clusterSizes,
  entrySize,
  type Header,
  headerBytes,
  isClusterSize,
  isTableSize,
  placeName,
  sectorSize,
  tableSizes,
} from './header.ts'
import { backingFeatures } from './image.ts'
import type { QedCreateOptions } from './options.ts'

interface Settings {
  readonly size: number
  readonly clusterSize: number
  readonly tableBytes: number
}

/** The sizes of a new image. EINVAL, in QEMU's words, for those that the format does not have. */
export function checkSettings(options: Readonly<Record<string, unknown>>): Settings {
  const clusterSize = options.clusterSize as number
  const tableSize = options.tableSize as number
  if (!isClusterSize(clusterSize)) {
    const range = `[${clusterSizes.least}, ${clusterSizes.most}]`
    throw new BlockError('EINVAL', `QED cluster size must be within range ${range} and power of 2`)
  }
  if (!isTableSize(tableSize)) {
    const range = `[${tableSizes.least}, ${tableSizes.most}]`
    throw new BlockError('EINVAL', `QED table size must be within range ${range} and power of 2`)
  }
  const size = checkSize(alignUp(options.size as number, sectorSize), clusterSize, tableSize)
  return { size, clusterSize, tableBytes: tableSize * clusterSize }
}

/** Writes a new image into `children.file`. */
export async function create(context: CreateContext<Omit<QedCreateOptions, 'file'>>): Promise<void> {
  const { size, clusterSize, tableBytes } = checkSettings({ ...context.options })
  const { backingFile = '', backingFmt } = context.options
  const name = new TextEncoder().encode(backingFile)
  const backed = name.length > 0
  const header: Header = {
    clusterSize,
    tableBytes,
    headerClusters: 1,
    features: backed ? backingFeatures(backingFmt) : 0,
    autoclearFeatures: 0n,
    rootOffset: clusterSize,
    size,
    name: backed ? placeName(name, clusterSize) : undefined,
  }
  const file = context.children.require('file')
  if (file.size > 0) await file.truncate(0)
  await file.truncate(clusterSize + tableBytes, { exact: false })
  const fields = headerBytes(header)
  const bytes = new Uint8Array(fields.length + name.length)
  bytes.set(fields)
  bytes.set(name, fields.length)
  await file.write(0, bytes)
}

/** Header, root, the tables and the clusters that the content needs. */
export async function measure(request: MeasureRequest): Promise<Measurement> {
  const { size, clusterSize, tableBytes } = checkSettings({ ...request.options, size: Math.max(request.size, 0) })
  const tableSpan = (tableBytes / entrySize) * clusterSize
  const metadata = clusterSize + tableBytes
  const fullyAllocated = metadata + Math.ceil(size / tableSpan) * tableBytes + alignUp(size, clusterSize)
  let required = metadata
  let tables = 0
  for await (const { start, end } of neededClusters(request.extents, clusterSize)) {
    required += end - start
    const firstTable = Math.max(tables, Math.floor(start / tableSpan))
    const lastTable = Math.ceil(end / tableSpan)
    required += Math.max(0, lastTable - firstTable) * tableBytes
    tables = Math.max(tables, lastTable)
  }
  return { required, fullyAllocated }
}
