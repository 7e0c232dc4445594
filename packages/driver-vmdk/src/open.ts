/** Opening: the descriptor, wherever it stands, and the extents that it names. */
import { BlockError, type ChildHandle, type OpenContext, type OpenImage } from '@diskgraph/core/driver'
import { type Descriptor, type ExtentLine, isDescriptor, parseDescriptor } from './descriptor.ts'
import { type Extent, FlatExtent } from './extent.ts'
import { type Header, isSparse, parseHeader } from './header.ts'
import { type DescriptorPlace, type PlacedExtent, VmdkImage } from './image.ts'
import { esxHeaderSize, footerDistance, longestDescriptor, sectorSize } from './layout.ts'
import type { VmdkOptions } from './options.ts'
import { Parent } from './parent.ts'
import { SparseExtent } from './sparse-extent.ts'

/** Descriptors in files of their own that say one of these are read. */
const createTypes: readonly string[] = [
  'monolithicFlat',
  'twoGbMaxExtentFlat',
  'twoGbMaxExtentSparse',
  '2GbMaxExtentFlat',
  '2GbMaxExtentSparse',
  'vmfs',
  'vmfsEagerZeroedThick',
  'vmfsPreallocated',
  'vmfsThin',
  'vmfsSparse',
  'custom',
]

/** Opens an image. */
export async function openImage(context: OpenContext<VmdkOptions>): Promise<OpenImage> {
  const file = context.children.require('file')
  const head = await readBytes(file, 0, esxHeaderSize)
  if (isSparse(head)) return new Opening(context).openSparse(file)
  if (isDescriptor(head)) return new Opening(context).openDescriptor(file)
  throw new BlockError('EINVAL', 'Image not in VMDK format')
}

async function readBytes(file: ChildHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  await file.read(offset, bytes)
  return bytes
}

class Opening {
  readonly #context: OpenContext<VmdkOptions>

  constructor(context: OpenContext<VmdkOptions>) {
    this.#context = context
  }

  /** A file that is an extent, and has the descriptor in it. */
  async openSparse(file: ChildHandle): Promise<OpenImage> {
    const header = await this.#readHeader(file)
    const { offset, length } = header.descriptor
    if (offset === 0 || length === 0) {
      throw new BlockError('EINVAL', 'the file is an extent without a descriptor', {
        hint: 'open the file that names it',
      })
    }
    const descriptor = parseDescriptor(await readBytes(file, offset, Math.min(length, longestDescriptor)))
    const parent = await this.#openParent(descriptor)
    const image = this.#sparse({ file, header, size: header.capacity, start: 0, descriptor, parent })
    return this.#image(descriptor, { file, offset, room: length }, [{ image, start: 0, type: '' }])
  }

  /** A file that is a descriptor. */
  async openDescriptor(file: ChildHandle): Promise<OpenImage> {
    const descriptor = parseDescriptor(await readBytes(file, 0, Math.min(file.size, longestDescriptor)))
    if (!createTypes.includes(descriptor.createType)) {
      throw new BlockError('ENOTSUP', `Unsupported image type '${descriptor.createType.slice(0, 80)}'`)
    }
    const lines = descriptor.extents()
    if (lines.length === 0) throw new BlockError('EINVAL', 'the descriptor names no extents')
    if (lines.some(({ access }) => access === 'RDONLY')) this.#becomeReadOnly('an extent of the image is read-only')
    const parent = await this.#openParent(descriptor)
    const extents: PlacedExtent[] = []
    let start = 0
    for (const [i, line] of lines.entries()) {
      const image = await this.#openExtent(`extents.${i}`, line, { descriptor, parent, start })
      extents.push({ image, start, type: line.type })
      start += line.length
    }
    if (!Number.isSafeInteger(start))
      throw new BlockError('EFBIG', 'the extents of the image come to more than 2^53 bytes')
    return this.#image(descriptor, { file, offset: 0, room: Number.POSITIVE_INFINITY }, extents)
  }

  async #openParent({ parentName, parentCid }: Descriptor): Promise<Parent> {
    const { children, inspect } = this.#context
    if (parentName !== undefined && !inspect) {
      await this.#context.reference('backing', { filename: parentName, format: 'vmdk' })
    }
    return new Parent(() => children.get('backing'), parentCid)
  }

  async #openExtent(
    name: string,
    line: ExtentLine,
    disk: { readonly descriptor: Descriptor; readonly parent: Parent; readonly start: number },
  ): Promise<Extent> {
    const { filename, length, offset } = line
    const file = await this.#context.reference(name, { filename, format: 'raw', part: true })
    if (file === undefined) throw new BlockError('ENOENT', `there is no extent '${filename}'`)
    if (line.type === 'FLAT' || line.type === 'VMFS') return new FlatExtent(file, offset, length)
    const header = await this.#readHeader(file)
    if (header.capacity < length) {
      throw new BlockError(
        'EINVAL',
        `the extent '${filename}' has ${header.capacity} bytes, and the disk needs ${length}`,
      )
    }
    return this.#sparse({ file, header, size: length, ...disk })
  }

  #sparse({
    file,
    header,
    size,
    start,
    descriptor,
    parent,
  }: {
    readonly file: ChildHandle
    readonly header: Header
    readonly size: number
    readonly start: number
    readonly descriptor: Descriptor
    readonly parent: Parent
  }): SparseExtent {
    if (header.compressed && header.atEnd) this.#becomeReadOnly('the directory stands behind the grains')
    if (header.version === 3 && !header.compressed) this.#becomeReadOnly('changes of version 3 are tracked elsewhere')
    return new SparseExtent({
      file,
      header,
      size,
      readOnly: this.#context.readOnly,
      namesBacking: descriptor.parentName !== undefined,
      backing: () => parent.from(start),
    })
  }

  #image(descriptor: Descriptor, place: DescriptorPlace, extents: readonly PlacedExtent[]): OpenImage {
    return new VmdkImage({ descriptor, place, extents, random: this.#context.random })
  }

  #becomeReadOnly(reason: string): void {
    if (!this.#context.readOnly) this.#context.becomeReadOnly(reason)
  }

  async #readHeader(file: ChildHandle): Promise<Header> {
    const header = parseHeader(await readBytes(file, 0, esxHeaderSize))
    if (file.size < header.overhead) {
      throw new BlockError('EINVAL', `File truncated, expecting at least ${header.overhead} bytes`)
    }
    return header.atEnd ? this.#readFooter(file, header) : header
  }

  async #readFooter(file: ChildHandle, { descriptor }: Header): Promise<Header> {
    const bytes = await readBytes(file, Math.max(0, file.size - footerDistance), sectorSize)
    const invalid = (cause?: unknown): BlockError => new BlockError('EINVAL', 'Invalid footer', { cause })
    if (file.size % sectorSize !== 0 || !isSparse(bytes)) throw invalid()
    let footer: Header
    try {
      footer = parseHeader(bytes)
    } catch (cause) {
      throw invalid(cause)
    }
    if (footer.atEnd || footer.kind !== 'hosted') throw invalid()
    // The directory stands behind the grains, as nothing else does.
    return { ...footer, descriptor, atEnd: true }
  }
}
