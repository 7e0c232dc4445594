/** Parallels images, in both of their layouts. */
import {
  BlockError,
  type DriverDescriptor,
  defineDriver,
  type OpenContext,
  type OpenImage,
} from '@diskgraph/core/driver'
import { readTable } from '@diskgraph/sparse'
import { checkSettings, create, measure } from './create.ts'
import { checkExtension, entrySize, hasMagic, headerSize, parseHeader } from './header.ts'
import { ParallelsImage } from './image.ts'
import { createOptions, options, type ParallelsCreateOptions, type ParallelsOptions } from './options.ts'

export type { ParallelsCreateOptions, ParallelsOptions } from './options.ts'

async function open(context: OpenContext<ParallelsOptions>): Promise<OpenImage> {
  const { children, readOnly, inspect, check } = context
  const file = children.require('file')
  const bytes = new Uint8Array(headerSize)
  await file.read(0, bytes)
  const header = parseHeader(bytes)
  if (header.extension !== 0) {
    const head = new Uint8Array(8)
    await file.read(header.extension, head)
    checkExtension(head)
    if (!readOnly) {
      throw new BlockError('ENOTSUP', 'the image has dirty bitmaps, which writing would make invalid', {
        hint: 'open it read-only',
      })
    }
  }
  const end = headerSize + header.entries * entrySize
  if (end > file.size) {
    throw new BlockError('EINVAL', `the table ends at ${end}, behind the end of the file (${file.size})`)
  }
  const table = await readTable(file, headerSize, header.entries, true)
  const image = new ParallelsImage({ file, header, table, readOnly, backing: () => children.get('backing') })
  if (image.foundInUse && !readOnly && !inspect && !check) {
    await image.check({ repair: 'all', onFinding: (_, text) => context.warn(text) })
  }
  return image
}

/** The driver `parallels`. */
export const parallels: DriverDescriptor = defineDriver<ParallelsOptions, ParallelsCreateOptions>()({
  name: 'parallels',
  kind: 'format',
  description: 'Images of Parallels.',
  options,
  createOptions,
  probe: (head) => (hasMagic(head) ? 100 : 0),
  open,
  validateCreate: (all) => {
    checkSettings(all)
  },
  create,
  measure,
})
