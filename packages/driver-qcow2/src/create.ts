/**
 * Making a new image. Its metadata stands in the order
 *
 *     header │ refcount table │ refcount blocks │ L1 table
 *
 * with blocks that describe all of these clusters. The header is written last: until then there is no image.
 */
import { rawDeflate, zstd } from '@diskgraph/codecs'
import { alignUp, type ChildHandle, type CreateContext, isPowerOfTwo, type Preallocation } from '@diskgraph/core/driver'
import { refuse, viewOf } from './bytes.ts'
import { initialExtensions } from './header/extensions.ts'
import { type Header, serializeHeader, withBacking } from './header/header.ts'
import {
  CompatibleBit,
  CompressionType,
  CryptMethod,
  entrySize,
  type Geometry,
  geometryOf,
  headerLengthV2,
  headerLengthV3,
  IncompatibleBit,
  maxBackingFormatSize,
  maxClusterBits,
  maxL1TableSize,
  minClusterBits,
  withFeature,
} from './header/layout.ts'
import { preallocate } from './mapping/allocation.ts'
import { runtimeOptions } from './options.ts'
import { setRefcountAt } from './refcounts/entries.ts'
import { Qcow2State } from './state.ts'
import { RootTable } from './tables/root-table.ts'

/** Create options, checked against each other. */
export interface NewImage {
  readonly version: 2 | 3
  readonly size: number
  readonly geometry: Geometry
  readonly lazyRefcounts: boolean
  /** A value of `CompressionType`. */
  readonly compressionType: number
  readonly preallocation: Preallocation
  readonly backingFile: string | undefined
  readonly backingFormat: string | undefined
}

/** Checks create options; throws with QEMU's texts for values that do not go together or are not supported yet. */
export function checkCreateOptions(options: Readonly<Record<string, unknown>>): NewImage {
  refuseUnsupported(options)
  const version = options.compat === 'v2' || options.compat === '0.10' ? 2 : 3
  const clusterSize = options.clusterSize as number
  if (!isPowerOfTwo(clusterSize) || clusterSize < 2 ** minClusterBits || clusterSize > 2 ** maxClusterBits) {
    refuse('EINVAL', 'Cluster size must be a power of two between 512 and 2048k')
  }
  const refcountBits = options.refcountBits as number
  if (!isPowerOfTwo(refcountBits) || refcountBits > 64) {
    refuse('EINVAL', 'Refcount width must be a power of two and may not exceed 64 bits')
  }
  const newer = '(use version=v3 or greater)'
  if (version === 2 && refcountBits !== 16) {
    refuse('EINVAL', `Different refcount widths than 16 bits require compatibility level 1.1 or above ${newer}`)
  }
  if (version === 2 && options.lazyRefcounts === true) {
    refuse('EINVAL', `Lazy refcounts only supported with compatibility level 1.1 and above ${newer}`)
  }
  const compressionType = CompressionType[options.compressionType as keyof typeof CompressionType]
  if (version === 2 && compressionType !== CompressionType.zlib) {
    refuse('EINVAL', `Non-zlib compression type is only supported with compatibility level 1.1 and above ${newer}`)
  }
  const backingFile = (options.backingFile as string | undefined) || undefined
  const backingFormat = (options.backingFmt as string | undefined) || undefined
  const preallocation = options.preallocation as Preallocation
  if (backingFile !== undefined && preallocation !== 'off') {
    refuse('EINVAL', 'Backing file and preallocation can only be used at the same time if extended_l2 is on')
  }
  if (backingFile === undefined && backingFormat !== undefined)
    refuse('EINVAL', 'Backing format cannot be used without backing file')
  if (backingFormat !== undefined && new TextEncoder().encode(backingFormat).length > maxBackingFormatSize) {
    refuse('EINVAL', `Parameter 'backing-fmt' does not accept value '${backingFormat}'`)
  }
  const size = alignUp(options.size as number, 512)
  const geometry = geometryOf(Math.log2(clusterSize), Math.log2(refcountBits))
  if (!Number.isSafeInteger(size) || Math.ceil(size / geometry.l2Span) * entrySize > maxL1TableSize) {
    const message = "The image size is too large for file format 'qcow2' (try using a larger cluster size)"
    refuse('EFBIG', message)
  }
  const lazyRefcounts = options.lazyRefcounts === true
  return { version, size, geometry, lazyRefcounts, compressionType, preallocation, backingFile, backingFormat }
}

function refuseUnsupported(options: Readonly<Record<string, unknown>>): void {
  const notYet = (what: string): never => {
    refuse('ENOTSUP', `cannot create the image: ${what} is not supported yet`)
  }
  if (options.encryption === true || options.encrypt !== undefined) notYet('encryption')
  if (options.dataFile !== undefined || options.dataFileRaw === true) notYet('an external data file')
  if (options.extendedL2 === true) notYet('extended_l2')
}

interface Plan {
  readonly refcountTableClusters: number
  readonly refcountBlocks: number
  readonly l1Entries: number
  readonly clusters: number
}

/** Writes a new image into `children.file`. */
export async function create(context: CreateContext): Promise<void> {
  const image = checkCreateOptions(context.options)
  // Refused before anything is written: nothing here could open the image.
  if (image.compressionType === CompressionType.zstd) await zstd()
  const file = context.children.require('file')
  if (file.size > 0) await file.truncate(0).catch(() => {})
  const plan = planTables(image)
  const header = newHeader(image, plan)
  const bytes = serializeHeader(header)
  const { clusterSize } = image.geometry
  const table = new RootTable(header.refcountTableOffset, new Uint8Array(plan.refcountTableClusters * clusterSize))
  for (let i = 0; i < plan.refcountBlocks; i++) {
    table.set(i, (1 + plan.refcountTableClusters + i) * clusterSize, 0)
  }
  await file.write(table.offset, table.data)
  await writeBlocks(file, image.geometry, plan)
  await writeL1(file, header.l1TableOffset, plan.l1Entries * entrySize)
  const region = new Uint8Array(clusterSize)
  region.set(bytes)
  await file.write(0, region)
  if (image.preallocation !== 'off') await preallocateAll(context, image, header)
}

/** How many clusters each table takes, so that the refcount blocks describe all of them. */
function planTables(image: NewImage): Plan {
  const { clusterSize, l2Span, refcountBlockEntries } = image.geometry
  const l1Entries = Math.ceil(image.size / l2Span)
  const l1Clusters = Math.ceil((l1Entries * entrySize) / clusterSize)
  let refcountBlocks = 1
  for (;;) {
    const refcountTableClusters = Math.ceil((refcountBlocks * entrySize) / clusterSize)
    const clusters = 1 + refcountTableClusters + refcountBlocks + l1Clusters
    const needed = Math.ceil(clusters / refcountBlockEntries)
    if (needed <= refcountBlocks) return { refcountTableClusters, refcountBlocks, l1Entries, clusters }
    refcountBlocks = needed
  }
}

function newHeader(image: NewImage, plan: Plan): Header {
  const { geometry, version } = image
  const lazy = version === 3 && image.lazyRefcounts
  const header: Header = {
    version,
    clusterBits: geometry.clusterBits,
    size: image.size,
    cryptMethod: CryptMethod.none,
    l1Size: plan.l1Entries,
    l1TableOffset:
      plan.l1Entries === 0 ? 0 : (1 + plan.refcountTableClusters + plan.refcountBlocks) * geometry.clusterSize,
    refcountTableOffset: geometry.clusterSize,
    refcountTableClusters: plan.refcountTableClusters,
    nbSnapshots: 0,
    snapshotsOffset: 0,
    incompatibleFeatures: withFeature(
      0n,
      IncompatibleBit.compressionType,
      image.compressionType !== CompressionType.zlib,
    ),
    compatibleFeatures: withFeature(0n, CompatibleBit.lazyRefcounts, lazy),
    autoclearFeatures: 0n,
    refcountOrder: geometry.refcountOrder,
    headerLength: version === 2 ? headerLengthV2 : headerLengthV3,
    compressionType: image.compressionType,
    extraFields: new Uint8Array(0),
    backingFile: undefined,
    backingFileBytes: undefined,
    backingFormat: undefined,
    extensions: initialExtensions(version, geometry.clusterBits),
  }
  return withBacking(header, image.backingFile, image.backingFormat)
}

async function writeBlocks(file: ChildHandle, geometry: Geometry, plan: Plan): Promise<void> {
  const { clusterSize, refcountBlockEntries, refcountOrder } = geometry
  for (let block = 0; block < plan.refcountBlocks; block++) {
    const data = new Uint8Array(clusterSize)
    const slice = { data, view: viewOf(data) }
    const used = Math.min(refcountBlockEntries, plan.clusters - block * refcountBlockEntries)
    for (let i = 0; i < used; i++) setRefcountAt(slice, refcountOrder, i, 1)
    await file.write((1 + plan.refcountTableClusters + block) * clusterSize, data)
  }
}

/** Writes the empty L1 table as data: entries that are set later need its room. */
async function writeL1(file: ChildHandle, offset: number, length: number): Promise<void> {
  const zeroes = new Uint8Array(Math.min(length, 1024 * 1024))
  for (let at = 0; at < length; at += zeroes.byteLength) {
    await file.write(offset + at, zeroes.subarray(0, Math.min(zeroes.byteLength, length - at)))
  }
}

async function preallocateAll(context: CreateContext, image: NewImage, header: Header): Promise<void> {
  const file = context.children.require('file')
  const { clusterSize } = image.geometry
  const table = new Uint8Array(header.refcountTableClusters * clusterSize)
  await file.read(header.refcountTableOffset, table)
  const state = new Qcow2State({
    file,
    header,
    l1: new RootTable(header.l1TableOffset, new Uint8Array(header.l1Size * entrySize)),
    refcountTable: new RootTable(header.refcountTableOffset, table),
    options: runtimeOptions({}, image.geometry, image.size, false),
    host: { clock: context.clock, nodeName: '', emit: () => {}, warn: (message) => context.warn(message) },
    codec: rawDeflate,
    readOnly: false,
    backing: () => undefined,
  })
  await preallocate(state, { start: 0, end: image.size, mode: image.preallocation }, context.signal)
  await state.exclusively(() => state.makeClean())
}
