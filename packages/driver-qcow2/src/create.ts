/**
 * Making a new image. Its metadata stands in the order
 *
 *     header │ refcount table │ refcount blocks │ L1 table
 *
 * with blocks that describe all of these clusters. The header is written last: until then there is no image.
 */
import { rawDeflate, zstd } from '@diskgraph/codecs'
import type { ChildHandle, CreateContext } from '@diskgraph/core/driver'
import { encodeText, viewOf, writeU64 } from './bytes.ts'
import { initialExtensions, withExtension } from './header/extensions.ts'
import { type Header, serializeHeader, withBacking } from './header/header.ts'
import {
  AutoclearBit,
  CompatibleBit,
  CompressionType,
  CryptMethod,
  ExtensionType,
  entrySize,
  type Geometry,
  headerLengthV2,
  headerLengthV3,
  IncompatibleBit,
  withFeature,
} from './header/layout.ts'
import { seldom } from './lazy.ts'
import { preallocate } from './mapping/allocation.ts'
import { checkCreateOptions, type NewImage } from './new-image.ts'
import { runtimeOptions } from './options.ts'
import { setRefcountAt } from './refcounts/entries.ts'
import { Qcow2State } from './state.ts'
import { RootTable } from './tables/root-table.ts'

export interface Plan {
  readonly refcountTableClusters: number
  readonly refcountBlocks: number
  readonly l1Entries: number
  /** Where the tables end: the header of LUKS stands there, if there is one, or the data. */
  readonly tablesEnd: number
  /** All that are in use. */
  readonly clusters: number
}

/** Writes a new image into `children.file`. */
export async function create(context: CreateContext): Promise<void> {
  const dataFile = context.children.get('dataFile')
  const image = checkCreateOptions({ ...context.options, dataFile })
  // Refused before anything is written: nothing here could open the image.
  if (image.compressionType === CompressionType.zstd) await zstd()
  const { encrypt } = image
  const headerBytes = encrypt === undefined ? 0 : await (await seldom()).encryptionHeaderSize(encrypt)
  const file = context.children.require('file')
  if (file.size > 0) await file.truncate(0).catch(() => {})
  const plan = planTables(image, Math.ceil(headerBytes / image.geometry.clusterSize))
  const header = newHeader(image, plan, headerBytes, dataFile?.filename)
  const bytes = serializeHeader(header)
  const { clusterSize } = image.geometry
  await file.write(header.refcountTableOffset, refcountTableOf(image.geometry, plan))
  for (let block = 0; block < plan.refcountBlocks; block++) {
    await file.write(
      (1 + plan.refcountTableClusters + block) * clusterSize,
      refcountBlockOf(image.geometry, plan, block),
    )
  }
  await writeL1(file, header.l1TableOffset, plan.l1Entries * entrySize)
  if (encrypt !== undefined) {
    const place = { offset: plan.tablesEnd, length: headerBytes }
    // The clusters of the header are data, whatever of it is written.
    if (headerBytes > 0) await file.write(plan.clusters * clusterSize - 1, new Uint8Array(1))
    await (await seldom()).formatEncryption(context, encrypt, place)
  }
  const region = new Uint8Array(clusterSize)
  region.set(bytes)
  await file.write(0, region)
  if (image.preallocation !== 'off' || image.dataFileRaw) await preallocateAll(context, image, header)
  if (dataFile !== undefined && dataFile.size < image.size) await dataFile.truncate(image.size)
}

/** How many clusters each table takes, so that the refcount blocks describe all of them, and `more` behind them. */
export function planTables(image: NewImage, more: number): Plan {
  const { clusterSize, l2Span, refcountBlockEntries } = image.geometry
  const l1Entries = Math.ceil(image.size / l2Span)
  const l1Clusters = Math.ceil((l1Entries * entrySize) / clusterSize)
  let refcountBlocks = 1
  for (;;) {
    const refcountTableClusters = Math.ceil((refcountBlocks * entrySize) / clusterSize)
    const tables = 1 + refcountTableClusters + refcountBlocks + l1Clusters
    const clusters = tables + more
    const needed = Math.ceil(clusters / refcountBlockEntries)
    if (needed <= refcountBlocks) {
      return { refcountTableClusters, refcountBlocks, l1Entries, tablesEnd: tables * clusterSize, clusters }
    }
    refcountBlocks = needed
  }
}

/** The header of a new image. */
export function newHeader(image: NewImage, plan: Plan, headerBytes: number, dataFile: string | undefined): Header {
  const { geometry, version } = image
  const lazy = version === 3 && image.lazyRefcounts
  const header: Header = {
    version,
    clusterBits: geometry.clusterBits,
    size: image.size,
    cryptMethod: CryptMethod[image.encrypt?.format ?? 'none'],
    l1Size: plan.l1Entries,
    l1TableOffset:
      plan.l1Entries === 0 ? 0 : (1 + plan.refcountTableClusters + plan.refcountBlocks) * geometry.clusterSize,
    refcountTableOffset: geometry.clusterSize,
    refcountTableClusters: plan.refcountTableClusters,
    nbSnapshots: 0,
    snapshotsOffset: 0,
    incompatibleFeatures: withFeature(
      image.features,
      IncompatibleBit.compressionType,
      image.compressionType !== CompressionType.zlib,
    ),
    compatibleFeatures: withFeature(0n, CompatibleBit.lazyRefcounts, lazy),
    autoclearFeatures: withFeature(0n, AutoclearBit.rawExternalData, image.dataFileRaw),
    refcountOrder: geometry.refcountOrder,
    headerLength: version === 2 ? headerLengthV2 : headerLengthV3,
    compressionType: image.compressionType,
    extraFields: new Uint8Array(0),
    backingFile: undefined,
    backingFileBytes: undefined,
    backingFormat: undefined,
    extensions: withExtension(
      withExtension(initialExtensions(version, geometry.clusterBits), ExtensionType.dataFile, dataFileName(dataFile)),
      ExtensionType.encryptionHeader,
      headerBytes === 0 ? undefined : encryptionExtension(plan.tablesEnd, headerBytes),
    ),
  }
  return withBacking(header, image.backingFile, image.backingFormat)
}

/** The name of an external data file as the image has it; names that are no file names are left to the options. */
function dataFileName(filename: string | undefined): Uint8Array | undefined {
  return filename === undefined || filename === '' || filename.startsWith('json:') ? undefined : encodeText(filename)
}

function encryptionExtension(offset: number, length: number): Uint8Array {
  const data = new Uint8Array(16)
  writeU64(viewOf(data), 0, offset)
  writeU64(viewOf(data), 8, length)
  return data
}

/** The refcount table of a new image. */
export function refcountTableOf({ clusterSize }: Geometry, plan: Plan): Uint8Array {
  const table = new RootTable(0, new Uint8Array(plan.refcountTableClusters * clusterSize))
  for (let i = 0; i < plan.refcountBlocks; i++) table.set(i, (1 + plan.refcountTableClusters + i) * clusterSize, 0)
  return table.data
}

/** One of its refcount blocks: each cluster in use has one reference. */
export function refcountBlockOf(geometry: Geometry, plan: Plan, block: number): Uint8Array {
  const { clusterSize, refcountBlockEntries, refcountOrder } = geometry
  const data = new Uint8Array(clusterSize)
  const slice = { data, view: viewOf(data) }
  const used = Math.min(refcountBlockEntries, plan.clusters - block * refcountBlockEntries)
  for (let i = 0; i < used; i++) setRefcountAt(slice, refcountOrder, i, 1)
  return data
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
    dataFile: context.children.get('dataFile'),
    header,
    l1: new RootTable(header.l1TableOffset, new Uint8Array(header.l1Size * entrySize)),
    refcountTable: new RootTable(header.refcountTableOffset, table),
    options: runtimeOptions({}, image.geometry, image.size, false),
    host: { clock: context.clock, nodeName: '', emit: () => {}, warn: (message) => context.warn(message) },
    codec: rawDeflate,
    readOnly: false,
    backing: () => undefined,
  })
  const mode = image.preallocation === 'off' ? 'metadata' : image.preallocation
  await preallocate(state, { start: 0, end: image.size, mode }, context.signal)
  await state.exclusively(() => state.makeClean())
}
