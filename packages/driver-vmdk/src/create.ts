/** Making a new image: the extents, each with its tables, then the descriptor that names them. */
import { alignUp, BlockError, type ChildHandle, type CreateContext, divUp } from '@diskgraph/core/driver'
import { hex } from './descriptor.ts'
import {
  compressionMethod,
  entrySize,
  HeaderFlag,
  Hosted,
  hostedMagic,
  lineEnds,
  NewExtent,
  noParent,
  sectorSize,
  splitSize,
} from './layout.ts'
import type { Subformat, VmdkCreateOptions } from './options.ts'

type Settings = Omit<VmdkCreateOptions, 'file'>

/** Bytes of a grain of a new image. */
export const grainSize = NewExtent.grainSectors * sectorSize
const piece = 2 ** 20

/** Checks what goes together. EINVAL, in QEMU's words; EFBIG for a disk whose tables cannot be pointed to. */
export function checkSettings(options: Readonly<Record<string, unknown>>): void {
  const {
    compat6,
    hwversion,
    backingFile,
    backingFmt,
    zeroedGrain,
    subformat = 'monolithicSparse',
    size,
  } = options as unknown as Settings
  if (compat6 === true && hwversion !== undefined && hwversion !== 'undefined') {
    throw new BlockError('EINVAL', 'compat6 cannot be enabled with hwversion set')
  }
  const flat = isFlat(subformat)
  if (flat && backingFile !== undefined) throw new BlockError('ENOTSUP', "Flat image can't have backing file")
  if (flat && zeroedGrain === true) throw new BlockError('ENOTSUP', "Flat image can't enable zeroed grain")
  if (backingFile !== undefined && backingFmt !== undefined && backingFmt !== 'vmdk') {
    throw new BlockError('EINVAL', 'backing_file must be a vmdk image')
  }
  if (!flat && !isSplit(subformat)) layoutOf(alignUp(size, sectorSize))
}

/** Writes a new image into `children.file`, and its extents beside it. */
export async function create(context: CreateContext<Settings>): Promise<void> {
  const { options, children, random } = context
  const { subformat = 'monolithicSparse' } = options
  const size = alignUp(options.size, sectorSize)
  const parentCid = await parentCidOf(context)
  const file = children.require('file')
  if (file.size > 0) await file.truncate(0)
  const name = baseName(file.filename)
  const lines: string[] = []
  if (isFlat(subformat) || isSplit(subformat)) {
    for (const extent of split(size, subformat, name)) {
      const target = await context.createFile(extent.name)
      if (isFlat(subformat)) await target.truncate(extent.length)
      else await writeExtent(target, extent.length, options)
      lines.push(extentLine(extent.length, subformat, extent.name))
    }
  } else {
    await writeExtent(file, size, options)
    lines.push(extentLine(size, subformat, name))
  }
  const cid = Math.floor(random() * 0xfffffffe)
  const parts = { options, size, cid, parentCid, subformat, lines }
  if (isFlat(subformat) || isSplit(subformat)) return file.write(0, new TextEncoder().encode(descriptorText(parts)))
  await file.write(NewExtent.descriptorOffset * sectorSize, descriptorBytes(parts))
}

/** The descriptor of a stream-optimized image that stands on nothing. EINVAL when it has no room. */
export function streamDescriptor(
  all: Readonly<Record<string, unknown>>,
  size: number,
  random: () => number,
): Uint8Array {
  const options = all as unknown as Settings
  const cid = Math.floor(random() * 0xfffffffe)
  const lines = [extentLine(size, 'streamOptimized', 'disk.vmdk')]
  return descriptorBytes({ options, size, cid, parentCid: noParent, subformat: 'streamOptimized', lines })
}

/** A descriptor that stands in the extent. */
function descriptorBytes(parts: DescriptorParts): Uint8Array {
  const bytes = new TextEncoder().encode(descriptorText(parts))
  if (bytes.length <= NewExtent.descriptorSectors * sectorSize) return bytes
  throw new BlockError('EINVAL', 'the names of the image are too long for its descriptor')
}

async function parentCidOf({ options, describe }: CreateContext<Settings>): Promise<number> {
  const { backingFile } = options
  if (backingFile === undefined) return noParent
  mustBePlain(backingFile)
  const { specific } = await describe({ filename: backingFile, format: 'vmdk' })
  const cid = specific?.type === 'vmdk' ? specific.data.cid : undefined
  if (typeof cid !== 'number') throw new BlockError('EINVAL', 'backing_file must be a vmdk image')
  return cid
}

function isFlat(subformat: Subformat): boolean {
  return subformat === 'monolithicFlat' || subformat === 'twoGbMaxExtentFlat'
}

function isSplit(subformat: Subformat): boolean {
  return subformat === 'twoGbMaxExtentSparse' || subformat === 'twoGbMaxExtentFlat'
}

/** The last part of a name, by which an image names its own file. It matters where there are others beside it. */
function baseName(filename: string): string {
  if (filename.startsWith('json:')) return 'disk.vmdk'
  const name = filename.slice(filename.lastIndexOf('/') + 1)
  mustBePlain(name)
  return name
}

function mustBePlain(name: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: lines of a descriptor have none
  if (/["\x00-\x1f]/.test(name)) {
    throw new BlockError('EINVAL', `the name '${name.slice(0, 80)}' cannot stand in a descriptor`, {
      hint: 'quotes and control characters have no place there',
    })
  }
}

/** The extents of a disk that stand in files of their own. */
function split(size: number, subformat: Subformat, name: string): { readonly name: string; readonly length: number }[] {
  const dot = name.lastIndexOf('.')
  const [stem, ending] = dot < 0 ? [name, ''] : [name.slice(0, dot), name.slice(dot)]
  if (!isSplit(subformat)) return [{ name: `${stem}-flat${ending}`, length: size }]
  const letter = isFlat(subformat) ? 'f' : 's'
  return Array.from({ length: Math.max(1, divUp(size, splitSize)) }, (_, i) => ({
    name: `${stem}-${letter}${String(i + 1).padStart(3, '0')}${ending}`,
    length: Math.min(splitSize, size - i * splitSize),
  }))
}

function extentLine(length: number, subformat: Subformat, name: string): string {
  const flat = isFlat(subformat)
  return `RW ${length / sectorSize} ${flat ? 'FLAT' : 'SPARSE'} "${name}"${flat ? ' 0' : ''}`
}

interface DescriptorParts {
  readonly options: Settings
  readonly size: number
  readonly cid: number
  readonly parentCid: number
  readonly subformat: Subformat
  readonly lines: readonly string[]
}

function descriptorText({ options, size, cid, parentCid, subformat, lines }: DescriptorParts): string {
  const { adapterType = 'ide', backingFile, compat6, hwversion = 'undefined', toolsversion = '2147483647' } = options
  for (const text of [hwversion, toolsversion]) mustBePlain(text)
  const version = hwversion === 'undefined' ? (compat6 ? '6' : '4') : hwversion
  const heads = adapterType === 'ide' ? 16 : 255
  const sectors = 63
  const hint = backingFile === undefined ? '' : `parentFileNameHint="${backingFile}"`
  return `# Disk DescriptorFile
version=1
CID=${hex(cid)}
parentCID=${hex(parentCid)}
createType="${subformat}"
${hint}
# Extent description
${lines.join('\n')}

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "${version}"
ddb.geometry.cylinders = "${Math.floor(size / (sectors * heads * sectorSize))}"
ddb.geometry.heads = "${heads}"
ddb.geometry.sectors = "${sectors}"
ddb.adapterType = "${adapterType}"
ddb.toolsVersion = "${toolsversion}"
`
}

/** Where the parts of a new extent stand, in sectors. EFBIG when the last of them cannot be pointed to. */
function layoutOf(capacity: number): {
  readonly tables: number
  readonly directory: number
  readonly secondRoot: number
  readonly root: number
  readonly grains: number
} {
  const tables = divUp(capacity, grainSize * NewExtent.tableEntries)
  const directory = divUp(tables * entrySize, sectorSize)
  const secondRoot = NewExtent.descriptorOffset + NewExtent.descriptorSectors
  const root = secondRoot + directory + tables * tableSectors
  const grains = alignUp(root + directory + tables * tableSectors, NewExtent.grainSectors)
  if (grains >= 2 ** 32) throw new BlockError('EFBIG', `a sparse extent of ${capacity} bytes is too large`)
  return { tables, directory, secondRoot, root, grains }
}

const tableSectors = (NewExtent.tableEntries * entrySize) / sectorSize

/** Writes header, directories and empty tables. */
async function writeExtent(file: ChildHandle, capacity: number, options: Settings): Promise<void> {
  const { tables, directory, secondRoot, root, grains } = layoutOf(capacity)
  const compressed = options.subformat === 'streamOptimized'
  const zeroes = options.zeroedGrain === true
  const bytes = headerOf(capacity, { compressed, zeroes, overhead: grains, second: secondRoot })
  new DataView(bytes.buffer).setBigUint64(Hosted.root, BigInt(root), true)
  await file.truncate(grains * sectorSize, { exact: false })
  for (const at of [secondRoot, root]) await writeDirectory(file, at * sectorSize, at + directory, tables)
  await file.write(0, bytes)
}

/** What a header says besides the place of its directory. In sectors. */
interface HeaderSettings {
  readonly compressed: boolean
  readonly zeroes: boolean
  readonly overhead: number
  /** Where the second directory stands; 0: there is none. */
  readonly second: number
}

/** The header of a new extent of `capacity` bytes. */
export function headerOf(capacity: number, { compressed, zeroes, overhead, second }: HeaderSettings): Uint8Array {
  const bytes = new Uint8Array(sectorSize)
  const view = new DataView(bytes.buffer)
  const u64 = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true)
  bytes.set(new TextEncoder().encode(hostedMagic), Hosted.magic)
  view.setUint32(Hosted.version, compressed ? 3 : zeroes ? 2 : 1, true)
  const flags =
    HeaderFlag.lineEnds +
    (second > 0 ? HeaderFlag.secondRoot : 0) +
    (zeroes ? HeaderFlag.zeroGrains : 0) +
    (compressed ? HeaderFlag.compressed + HeaderFlag.markers : 0)
  view.setUint32(Hosted.flags, flags, true)
  u64(Hosted.capacity, capacity / sectorSize)
  u64(Hosted.grainSize, NewExtent.grainSectors)
  u64(Hosted.descriptorOffset, NewExtent.descriptorOffset)
  u64(Hosted.descriptorSize, NewExtent.descriptorSectors)
  view.setUint32(Hosted.tableEntries, NewExtent.tableEntries, true)
  u64(Hosted.secondRoot, second)
  u64(Hosted.overhead, overhead)
  bytes.set(new TextEncoder().encode(lineEnds), Hosted.lineEnds)
  view.setUint16(Hosted.compression, compressed ? compressionMethod : 0, true)
  return bytes
}

/** Writes a directory at `offset`, whose tables stand behind each other from sector `first` on. */
async function writeDirectory(file: ChildHandle, offset: number, first: number, tables: number): Promise<void> {
  for (let at = 0; at < tables; at += piece / entrySize) {
    const bytes = new Uint8Array(Math.min(piece, (tables - at) * entrySize))
    const view = new DataView(bytes.buffer)
    for (let i = 0; i < bytes.length / entrySize; i++) {
      view.setUint32(i * entrySize, first + (at + i) * tableSectors, true)
    }
    await file.write(offset + at * entrySize, bytes)
  }
}
