/** VHD images, which QEMU calls `vpc`. */
import {
  alignUp,
  BlockError,
  type ChildHandle,
  type DriverDescriptor,
  defineDriver,
  isZero,
  type OpenContext,
  type OpenImage,
} from '@diskgraph/core/driver'
import { readTable } from '@diskgraph/sparse'
import { checkSettings, create, measure } from './create.ts'
import { DynamicImage } from './dynamic.ts'
import { FixedImage } from './fixed.ts'
import { DiskType, entrySize, footerSize, headerSize, sectorSize } from './layout.ts'
import { createOptions, options, type VpcCreateOptions, type VpcOptions } from './options.ts'
import { checkParent, type ParentName, readParent } from './parent.ts'
import { streamImage } from './stream.ts'
import { type Disk, hasFooter, parseFooter, parseHeader } from './structures.ts'

export type { VpcCreateOptions, VpcOptions } from './options.ts'

const largestStorageBlock = 4096

async function open(context: OpenContext<VpcOptions>): Promise<OpenImage> {
  const file = context.children.require('file')
  const rule = context.options.forceSizeCalc
  const head = await readFooter(file, 0)
  if (hasFooter(head)) {
    const disk = parseFooter(head, rule)
    if (disk.type !== DiskType.fixed) return openDynamic(context, disk)
  }
  const at = await findFooter(file)
  const disk = parseFooter(await readFooter(file, at), rule)
  if (disk.type !== DiskType.fixed) throw new BlockError('EINVAL', 'invalid VPC image')
  if (disk.size > at) {
    throw new BlockError('EINVAL', `the disk has ${disk.size} bytes, and the file only ${file.size}`, {
      hint: 'forceSizeCalc says which of the two sizes in the footer is meant',
    })
  }
  return new FixedImage(file, disk.size, disk.uuid)
}

async function openDynamic(context: OpenContext<VpcOptions>, disk: Disk): Promise<OpenImage> {
  const { bytes: footer, size, uuid } = disk
  const { children, readOnly } = context
  const file = children.require('file')
  const bytes = new Uint8Array(headerSize)
  if (disk.dataOffset < file.size) await file.read(disk.dataOffset, bytes)
  const { tableOffset, entries, blockSize } = parseHeader(bytes, size)
  const tableEnd = tableOffset + entries * entrySize
  if (tableEnd > file.size) {
    throw new BlockError(
      'EINVAL',
      'block-vpc: free_data_block_offset points after the end of file. The image has been truncated.',
    )
  }
  const table = await readTable(file, tableOffset, entries, false)
  const start = Math.max(alignUp(tableEnd, sectorSize), disk.dataOffset + headerSize)
  const parent = disk.type === DiskType.differencing ? await openParent(context, bytes) : undefined
  const backing = (): ChildHandle | undefined => children.get('backing')
  return new DynamicImage({ file, footer, size, blockSize, table, start, readOnly, uuid, parent, backing })
}

/** Opens the image below a differencing one; returns what the header says of it. */
async function openParent(context: OpenContext<VpcOptions>, header: Uint8Array): Promise<ParentName> {
  const { children, inspect } = context
  const parent = await readParent(children.require('file'), header)
  const given = children.get('backing') !== undefined
  if (inspect) return parent
  const child = await context.reference('backing', { filename: parent.filename, format: 'vpc' })
  if (child !== undefined && !given) checkParent(child, (await child.info()).contentId, parent)
  return parent
}

/** Where the footer at the end stands. Storage in blocks of up to 4 KiB may have filled the last one with zeroes. */
async function findFooter(file: ChildHandle): Promise<number> {
  const last = file.size - footerSize
  for (let at = last; at >= 0 && at > last - largestStorageBlock; at -= footerSize) {
    const bytes = await readFooter(file, at)
    if (hasFooter(bytes)) return at
    if (!isZero(bytes)) break
  }
  throw new BlockError('EINVAL', 'invalid VPC image')
}

async function readFooter(file: ChildHandle, offset: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(footerSize)
  await file.read(offset, bytes)
  return bytes
}

/** The driver `vpc`. */
export const vpc: DriverDescriptor = defineDriver<VpcOptions, VpcCreateOptions>()({
  name: 'vpc',
  kind: 'format',
  description: 'VHD images of Virtual PC and Hyper-V: dynamic, fixed and differencing.',
  options,
  createOptions,
  probe: (head) => (hasFooter(head) ? 100 : 0),
  open,
  validateCreate: (all) => {
    checkSettings(all)
  },
  create,
  measure,
  stream: streamImage,
})
