/** What there is to tell of an open image: QAPI's ImageInfo. */
import { type DriverInfo, type InfoValue, isBlockError, type Node, type SnapshotInfo } from '@diskgraph/core'
import { imageFilename, resolveReference, toKebabCase } from '@diskgraph/core/internal'
import type { TypeOf } from './inference.ts'

/** Facts about one image. */
export interface ImageInfo {
  readonly filename: string
  readonly format: string
  readonly virtualSize: number
  readonly actualSize?: number
  readonly clusterSize?: number
  readonly encrypted: boolean
  readonly compressed: boolean
  readonly dirty: boolean
  readonly backingFilename?: string
  /** The name that the backing reference stands for; undefined when that cannot be said. */
  readonly fullBackingFilename?: string
  readonly backingFormat?: string
  readonly snapshots: readonly SnapshotInfo[]
  readonly specific?: DriverInfo['specific']
}

/** Collects the facts of an image that is open. */
export async function imageInfo(node: Node): Promise<ImageInfo> {
  const info = await node.info()
  const actualSize = await allocatedSize(node)
  const { backingFilename } = info
  const full = backingFilename === undefined ? undefined : fullName(imageFilename(node), backingFilename)
  return {
    filename: node.filename,
    format: node.driver.name,
    virtualSize: node.size,
    ...(actualSize === undefined ? {} : { actualSize }),
    ...(info.clusterSize === undefined ? {} : { clusterSize: info.clusterSize }),
    encrypted: info.encrypted === true,
    compressed: info.compressed === true,
    dirty: info.dirty === true,
    ...(backingFilename === undefined ? {} : { backingFilename }),
    ...(full === undefined ? {} : { fullBackingFilename: full }),
    ...(info.backingFormat === undefined ? {} : { backingFormat: info.backingFormat }),
    snapshots: node.image.snapshots?.list() ?? [],
    ...(info.specific === undefined ? {} : { specific: info.specific }),
  }
}

/** Bytes that an image takes: what its storage reports, summed over several; without its backing file. */
async function allocatedSize(node: Node): Promise<number | undefined> {
  const own = (await node.info()).allocatedSize
  if (own !== undefined) return own
  let sum: number | undefined
  for (const edge of node.children.values()) {
    if (edge.role === 'cow') continue
    const size = await allocatedSize(edge.node)
    if (size !== undefined) sum = (sum ?? 0) + size
  }
  return sum
}

function fullName(image: string, reference: string): string | undefined {
  try {
    return resolveReference(image, reference)
  } catch (error) {
    if (isBlockError(error)) return undefined
    throw error
  }
}

/** The facts under QAPI's names, for JSON. */
export function infoMembers(info: ImageInfo): Record<string, unknown> {
  return {
    'virtual-size': info.virtualSize,
    filename: info.filename,
    format: info.format,
    'actual-size': info.actualSize,
    'cluster-size': info.clusterSize,
    encrypted: info.encrypted || undefined,
    compressed: info.compressed || undefined,
    'dirty-flag': info.dirty,
    'backing-filename': info.backingFilename,
    'full-backing-filename': info.fullBackingFilename,
    'backing-filename-format': info.backingFormat,
    snapshots: info.snapshots.length === 0 ? undefined : info.snapshots.map(snapshotMembers),
    'format-specific': info.specific && { type: info.specific.type, data: kebabKeys(info.specific.data) },
  }
}

/** A snapshot with QAPI's names. */
export function snapshotMembers(snapshot: SnapshotInfo): TypeOf<'SnapshotInfo'> {
  return {
    id: snapshot.id,
    name: snapshot.name,
    'vm-state-size': snapshot.vmStateSize,
    'date-sec': snapshot.dateSeconds,
    'date-nsec': snapshot.dateNanoseconds,
    'vm-clock-sec': Math.floor(snapshot.vmClockNanoseconds / 1e9),
    'vm-clock-nsec': snapshot.vmClockNanoseconds % 1e9,
    icount: snapshot.icount,
  }
}

/** Format-specific facts with QAPI's names. */
export function kebabKeys(value: InfoValue | undefined): unknown {
  if (Array.isArray(value)) return value.map(kebabKeys)
  if (typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [toKebabCase(key), kebabKeys(member)]))
}
