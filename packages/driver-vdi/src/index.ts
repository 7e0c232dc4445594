/** VDI images, the format of VirtualBox. */
import {
  BlockError,
  type DriverDescriptor,
  defineDriver,
  type OpenContext,
  type OpenImage,
} from '@diskgraph/core/driver'
import { readTable } from '@diskgraph/sparse'
import { checkSize, create, measure } from './create.ts'
import { hasSignature, parseHeader } from './header.ts'
import { VdiImage, vdiInfo } from './image.ts'
import { entrySize, headerSize } from './layout.ts'
import { createOptions, options, type VdiCreateOptions, type VdiOptions } from './options.ts'

export type { VdiCreateOptions, VdiOptions } from './options.ts'

async function open(context: OpenContext<VdiOptions>): Promise<OpenImage> {
  const file = context.children.require('file')
  const bytes = new Uint8Array(headerSize)
  await file.read(0, bytes)
  const header = parseHeader(bytes)
  if (context.inspect) return inspected(header.diskSize)
  const end = header.bmapOffset + header.blocks * entrySize
  if (end > file.size) {
    throw new BlockError('EINVAL', `the block map ends at ${end}, behind the end of the file (${file.size})`)
  }
  const table = await readTable(file, header.bmapOffset, header.blocks, true)
  return new VdiImage(file, header, table, context.readOnly)
}

/** An image that was opened to be looked at: its map, which may be large, is not read. */
function inspected(diskSize: number): OpenImage {
  const refuse = (): Promise<never> => Promise.reject(new BlockError('EINVAL', 'the image is only looked at'))
  return { size: Math.ceil(diskSize / 512) * 512, read: refuse, info: () => Promise.resolve(vdiInfo) }
}

/** The driver `vdi`. */
export const vdi: DriverDescriptor = defineDriver<VdiOptions, VdiCreateOptions>()({
  name: 'vdi',
  kind: 'format',
  description: 'Images of VirtualBox: dynamic and static.',
  options,
  createOptions,
  probe: (head) => (hasSignature(head) ? 100 : 0),
  open,
  validateCreate: (all) => {
    checkSize(all.size as number)
  },
  create,
  measure,
})
