/** Where the table of blocks and the metadata stand, and what the metadata say of the disk. Checked when they are read. */
import { BlockError, divUp, isAligned, isPowerOfTwo } from '@diskgraph/core/driver'
import type { TableFile } from '@diskgraph/sparse'
import { crc32c } from './crc32c.ts'
import {
  blockSizes,
  Guid,
  guidAt,
  MetadataField,
  maxSize,
  Parameter,
  RegionField,
  Required,
  regionOffsets,
  regionSize,
  sectorsPerChunk,
  unit,
} from './layout.ts'

/** A part of the file. */
interface Region {
  readonly offset: number
  readonly length: number
}

/** What the metadata say. */
export interface Disk {
  readonly bat: Region
  readonly size: number
  readonly blockSize: number
  readonly sectorSize: number
  /** Blocks that one sector bitmap tells of. */
  readonly chunkRatio: number
  /** The parent locator, of a differencing image. */
  readonly parent: Uint8Array | undefined
}

/** Reads regions and metadata. `taken`: the parts of the file that regions must not overlap. EINVAL, ENOTSUP. */
export async function readDisk(file: TableFile, taken: readonly Region[]): Promise<Disk> {
  const regions = await readRegions(file)
  const all = [...taken, ...regions.values()].sort((a, b) => a.offset - b.offset)
  for (const [i, { offset, length }] of all.entries()) {
    const next = all[i + 1]
    if (next !== undefined && offset + length > next.offset) {
      throw new BlockError('EINVAL', `regions of the image overlap at ${next.offset}`)
    }
  }
  const bat = regions.get(Guid.bat)
  const metadata = regions.get(Guid.metadata)
  if (bat === undefined || metadata === undefined) {
    throw new BlockError('EINVAL', `the image has no region for its ${bat === undefined ? 'blocks' : 'metadata'}`)
  }
  return diskOf(await readItems(file, metadata), bat)
}

async function readRegions(file: TableFile): Promise<Map<string, Region>> {
  for (const offset of regionOffsets) {
    const bytes = new Uint8Array(regionSize)
    await file.read(offset, bytes)
    const view = new DataView(bytes.buffer)
    if (String.fromCharCode(...bytes.subarray(0, 4)) !== 'regi') continue
    if (view.getUint32(RegionField.checksum, true) !== crc32c(bytes, RegionField.checksum)) continue
    return parseRegions(bytes, view)
  }
  throw new BlockError('EINVAL', 'the image has no table of regions that is whole')
}

function parseRegions(bytes: Uint8Array, view: DataView): Map<string, Region> {
  const count = view.getUint32(RegionField.count, true)
  if (count > RegionField.most) throw new BlockError('EINVAL', `the image is said to have ${count} regions`)
  const regions = new Map<string, Region>()
  for (let i = 0; i < count; i++) {
    const at = RegionField.entries + i * RegionField.entrySize
    const guid = guidAt(bytes, at)
    const offset = Number(view.getBigUint64(at + 16, true))
    const length = view.getUint32(at + 24, true)
    if (
      !Number.isSafeInteger(offset + length) ||
      offset < unit ||
      !isAligned(offset, unit) ||
      !isAligned(length, unit)
    ) {
      throw new BlockError('EINVAL', `a region of the image is said to stand at ${offset}, with ${length} bytes`)
    }
    if (regions.has(guid)) throw new BlockError('EINVAL', `the image has the region ${guid} twice`)
    const known = guid === Guid.bat || guid === Guid.metadata
    if (!known && (view.getUint32(at + 28, true) & Required.region) !== 0) {
      throw new BlockError('ENOTSUP', `the image needs a region that is not known, ${guid}`)
    }
    regions.set(guid, { offset, length })
  }
  return regions
}

const knownItems: readonly string[] = [
  Guid.fileParameters,
  Guid.diskSize,
  Guid.diskId,
  Guid.logicalSector,
  Guid.physicalSector,
  Guid.parentLocator,
]

/** The items of the metadata, by their GUIDs. */
async function readItems(file: TableFile, { offset, length }: Region): Promise<Map<string, Uint8Array>> {
  const bytes = new Uint8Array(MetadataField.tableSize)
  await file.read(offset, bytes)
  const view = new DataView(bytes.buffer)
  const count = view.getUint16(MetadataField.count, true)
  if (String.fromCharCode(...bytes.subarray(0, 8)) !== 'metadata' || count > MetadataField.most) {
    throw new BlockError('EINVAL', 'the metadata of the image are damaged')
  }
  const items = new Map<string, Uint8Array>()
  for (let i = 0; i < count; i++) {
    const at = MetadataField.entries + i * MetadataField.entrySize
    const guid = guidAt(bytes, at)
    const start = view.getUint32(at + 16, true)
    const size = view.getUint32(at + 20, true)
    if (!knownItems.includes(guid)) {
      if ((view.getUint32(at + 24, true) & Required.item) === 0) continue
      throw new BlockError('ENOTSUP', `the image needs metadata that are not known, ${guid}`)
    }
    if (items.has(guid) || start < MetadataField.tableSize || start + size > length || size > unit) {
      throw new BlockError('EINVAL', `the metadata of the image are damaged: ${guid}`)
    }
    const item = new Uint8Array(size)
    await file.read(offset + start, item)
    items.set(guid, item)
  }
  return items
}

function diskOf(items: ReadonlyMap<string, Uint8Array>, bat: Region): Disk {
  const item = (guid: string, size: number): DataView => {
    const bytes = items.get(guid)
    if (bytes === undefined || bytes.length < size) throw new BlockError('EINVAL', `the image lacks metadata: ${guid}`)
    return new DataView(bytes.buffer)
  }
  const parameters = item(Guid.fileParameters, 8)
  const blockSize = parameters.getUint32(0, true)
  if (!isPowerOfTwo(blockSize) || blockSize < blockSizes.least || blockSize > blockSizes.most) {
    throw new BlockError('EINVAL', `VHDX block size ${blockSize} is not a power of two between 1 MiB and 256 MiB`)
  }
  const sectorSize = item(Guid.logicalSector, 4).getUint32(0, true)
  if (sectorSize !== 512 && sectorSize !== 4096) {
    throw new BlockError('EINVAL', `VHDX sector size ${sectorSize} is neither 512 nor 4096`)
  }
  const size = Number(item(Guid.diskSize, 8).getBigUint64(0, true))
  if (size > maxSize || !isAligned(size, sectorSize)) {
    throw new BlockError('EINVAL', `VHDX disk size ${size} is above 64 TiB, or no multiple of ${sectorSize}`)
  }
  const hasParent = (parameters.getUint32(4, true) & Parameter.hasParent) !== 0
  const parent = hasParent ? items.get(Guid.parentLocator) : undefined
  if (hasParent && parent === undefined) throw new BlockError('EINVAL', 'the image does not name the image below')
  const chunkRatio = (sectorsPerChunk * sectorSize) / blockSize
  const blocks = divUp(size, blockSize)
  const chunks = divUp(blocks, chunkRatio)
  const entries = hasParent ? chunks * (chunkRatio + 1) : blocks + Math.max(0, chunks - 1)
  if (entries * 8 > bat.length) throw new BlockError('EINVAL', 'the table of blocks is too small for the disk')
  return { bat, size, blockSize, sectorSize, chunkRatio, parent }
}
