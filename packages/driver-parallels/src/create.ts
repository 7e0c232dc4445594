/** Making a new image: an empty table, then the header. */
import { alignUp, BlockError, type CreateContext, type Measurement, type MeasureRequest } from '@diskgraph/core/driver'
import { neededClusters } from '@diskgraph/sparse'
import { entrySize, headerSize, maxEntries, maxTracks, newHeader, sectorSize } from './header.ts'
import type { ParallelsCreateOptions } from './options.ts'

/** The size of disk and clusters of a new image, in whole sectors. EFBIG or EINVAL for those that do not go together. */
export function checkSettings(options: Readonly<Record<string, unknown>>): { size: number; clusterSize: number } {
  const size = alignUp(options.size as number, sectorSize)
  const clusterSize = alignUp(options.clusterSize as number, sectorSize)
  if (clusterSize > maxTracks * sectorSize) throw new BlockError('EINVAL', 'Cluster size is too large')
  if (clusterSize === 0) throw new BlockError('EINVAL', 'Cluster size must not be 0')
  if (!Number.isSafeInteger(size) || Math.ceil(size / clusterSize) > maxEntries) {
    throw new BlockError('EFBIG', 'Image size is too large for this cluster size')
  }
  return { size, clusterSize }
}

/** Writes a new image into `children.file`. */
export async function create(context: CreateContext<Omit<ParallelsCreateOptions, 'file'>>): Promise<void> {
  const { size, clusterSize } = checkSettings({ ...context.options })
  const file = context.children.require('file')
  if (file.size > 0) await file.truncate(0)
  await file.truncate(metadataSize(size, clusterSize), { exact: false })
  await file.write(0, newHeader(size, clusterSize))
}

/** Header and table, and the clusters that the content needs. */
export async function measure(request: MeasureRequest): Promise<Measurement> {
  const { size, clusterSize } = checkSettings({ ...request.options, size: Math.max(request.size, 0) })
  const metadata = metadataSize(size, clusterSize)
  const fullyAllocated = metadata + alignUp(size, clusterSize)
  let required = metadata
  for await (const { start, end } of neededClusters(request.extents, clusterSize)) required += end - start
  return { required, fullyAllocated }
}

function metadataSize(size: number, clusterSize: number): number {
  return alignUp(headerSize + Math.ceil(size / clusterSize) * entrySize, clusterSize)
}
