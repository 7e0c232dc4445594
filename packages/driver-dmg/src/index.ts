/** Disk images of macOS (UDIF), read-only: see layout.ts. */
import {
  BlockError,
  type Child,
  type DriverDescriptor,
  defineDriver,
  type OpenContext,
  type OpenImage,
} from '@diskgraph/core/driver'
import { chunksOf } from './chunks.ts'
import { DmgImage, isReadable, nameOfKind } from './image.ts'
import { tablesOfPropertyList } from './property-list.ts'
import { tablesOfResourceFork } from './resource-fork.ts'
import { readRange, readTrailer, trailerIn } from './trailer.ts'

/** Options of a `dmg` node. */
export interface DmgOptions {
  /** Where the image stands. */
  file: Child
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    dmg: { open: DmgOptions }
  }
}

async function open(context: OpenContext<DmgOptions>): Promise<OpenImage> {
  const file = context.children.require('file')
  const { dataForkOffset, size, resourceFork, propertyList } = await readTrailer(file)
  if (resourceFork.length === 0n && propertyList.length === 0n) {
    throw new BlockError('EINVAL', 'the image has neither a resource fork nor a property list')
  }
  // What is in both is the same; old images have no property list.
  const tables =
    propertyList.length > 0n
      ? tablesOfPropertyList(await readRange(file, propertyList, 'property list'))
      : tablesOfResourceFork(await readRange(file, resourceFork, 'resource fork'))
  const chunks = chunksOf(tables, dataForkOffset, file.size)
  for (const kind of new Set(chunks.map((chunk) => chunk.kind))) {
    if (isReadable(kind)) continue
    const text = `Image contains chunks of unknown type ${nameOfKind(kind)}, accessing them will result in I/O errors`
    context.warn(text)
  }
  return new DmgImage(file, size, chunks)
}

/** The driver `dmg`. */
export const dmg: DriverDescriptor = defineDriver<DmgOptions>()({
  name: 'dmg',
  kind: 'format',
  description: 'Disk images of macOS (UDIF), read-only.',
  imageMethods: ['blockStatus'],
  options: { file: { type: 'child', role: 'storage', required: true, description: 'Where the image stands' } },
  readOnly: true,
  probe: (_head, filename) => (filename.endsWith('.dmg') ? 2 : 0),
  probeTail: (tail) => trailerIn(tail) !== undefined,
  open,
})
