/**
 * How many bytes a new image takes.
 *
 *     header + L2 tables + L1 table + refcount table and blocks for all of these and for the data
 *
 * Metadata is counted for the fully written disk in both figures; `required` then has only the clusters that the
 * content needs, or all of them when they are preallocated.
 */
import { neededClusters } from '@diskgraph/clusters'
import { alignUp, BlockError, isBlockError, type Measurement, type MeasureRequest } from '@diskgraph/core/driver'
import { encodeText } from './bytes.ts'
import { encryptionHeaderSize } from './encryption.ts'
import { bitmapDirectoryEntrySize, entrySize, type Geometry } from './header/layout.ts'
import { checkCreateOptions, type NewImage } from './new-image.ts'
import { clustersFor } from './tables/bitmap-bits.ts'

/** Measures an image that is not there yet. EINVAL, with QEMU's texts, for options that do not go together. */
export async function measureImage(request: MeasureRequest): Promise<Measurement> {
  const { options, extents } = request
  const size = Math.max(request.size, 0)
  const settings = checkMeasuredOptions({ ...options, size })
  const { clusterSize } = settings.geometry
  const virtualSize = alignUp(size, clusterSize)
  const { encrypt } = settings
  const headerBytes = encrypt === undefined ? 0 : await encryptionHeaderSize(encrypt)
  const fullyAllocated = wholeSize(virtualSize, settings.geometry) + alignUp(headerBytes, clusterSize)
  const { preallocation, backingFile } = options
  // Over a backing file zeroes have to be written, too.
  const overlay = extents !== undefined && backingFile !== undefined && backingFile !== ''
  const all = preallocation === 'full' || preallocation === 'falloc' || overlay
  const data = all ? virtualSize : extents === undefined ? 0 : await neededData(extents, clusterSize)
  const sizes = { required: fullyAllocated - virtualSize + data, fullyAllocated }
  if (request.bitmaps === undefined || settings.version < 3) return sizes
  return { ...sizes, bitmaps: bitmapsSize(request.bitmaps, size, clusterSize) }
}

/** Bytes of bitmaps with all of their bits set or not, and of their directory. */
function bitmapsSize(bitmaps: NonNullable<MeasureRequest['bitmaps']>, size: number, clusterSize: number): number {
  let bytes = 0
  let directory = 0
  for (const { name, granularity } of bitmaps) {
    const clusters = clustersFor({ size, granularity }, clusterSize)
    bytes += clusters * clusterSize + alignUp(clusters * entrySize, clusterSize)
    directory += alignUp(bitmapDirectoryEntrySize + encodeText(name).byteLength, 8)
  }
  return bytes + alignUp(directory, clusterSize)
}

/** Bytes of an image whose disk of `virtualSize` (whole clusters) is written everywhere. */
function wholeSize(virtualSize: number, { clusterSize, refcountBits, l2Entries, l2EntrySize }: Geometry): number {
  const perCluster = clusterSize / entrySize
  const l2Bytes = alignUp(virtualSize / clusterSize, l2Entries) * l2EntrySize
  const l1Bytes = alignUp(l2Bytes / clusterSize, perCluster) * entrySize
  const clusters = (clusterSize + l2Bytes + l1Bytes + virtualSize) / clusterSize
  const perBlock = (clusterSize * 8) / refcountBits
  let blocks = 0
  let tables = 0
  for (let total = -1; total !== clusters + blocks + tables; ) {
    total = clusters + blocks + tables
    blocks = Math.ceil(total / perBlock)
    tables = Math.ceil(blocks / perCluster)
  }
  return (clusters + blocks + tables) * clusterSize
}

/** Bytes of all clusters that hold data; zeroes and holes take none. */
async function neededData(extents: NonNullable<MeasureRequest['extents']>, clusterSize: number): Promise<number> {
  let bytes = 0
  for await (const { start, end } of neededClusters(extents, clusterSize)) bytes += end - start
  return bytes
}

/** Checks as for an image that is made, but in the words that measuring has for one that is too large. */
function checkMeasuredOptions(options: Readonly<Record<string, unknown>>): NewImage {
  try {
    return checkCreateOptions(options)
  } catch (error) {
    if (!isBlockError(error) || error.code !== 'EFBIG') throw error
    throw new BlockError('EFBIG', 'The image size is too large (try using a larger cluster size)', { cause: error })
  }
}
