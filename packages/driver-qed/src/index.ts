/** QED images, an older format of QEMU. */
import { type DriverDescriptor, defineDriver, type OpenContext, type OpenImage } from '@diskgraph/core/driver'
import { readBackingName } from '@diskgraph/sparse'
import { checkSettings, create, measure } from './create.ts'
import { Feature, hasMagic, headerFields, parseHeader } from './header.ts'
import { QedImage } from './image.ts'
import { createOptions, options, type QedCreateOptions, type QedOptions } from './options.ts'

export type { QedCreateOptions, QedOptions } from './options.ts'

async function open(context: OpenContext<QedOptions>): Promise<OpenImage> {
  const { children, readOnly, inspect, check } = context
  const file = children.require('file')
  const bytes = new Uint8Array(headerFields)
  await file.read(0, bytes)
  const header = parseHeader(bytes, file.size)
  const backingName = await readBackingName(file, header.name)
  if (backingName !== undefined && !inspect) {
    const raw = (header.features & Feature.backingFormatNoProbe) !== 0
    await context.reference('backing', { filename: backingName, ...(raw ? { format: 'raw' } : {}) })
  }
  const image = new QedImage({ file, header, backingName, readOnly, backing: () => children.get('backing') })
  if (!readOnly && !inspect && !check) await image.activate((text) => context.warn(text))
  return image
}

/** The driver `qed`. */
export const qed: DriverDescriptor = defineDriver<QedOptions, QedCreateOptions>()({
  name: 'qed',
  kind: 'format',
  description: "QEMU's Enhanced Disk format.",
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
