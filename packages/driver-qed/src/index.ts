/** QED images, an older format of QEMU. */
import {
  BlockError,
  type ChildHandle,
  type DriverDescriptor,
  defineDriver,
  type OpenContext,
  type OpenImage,
} from '@diskgraph/core/driver'
import { checkSettings, create, measure } from './create.ts'
import { Feature, type Header, hasMagic, headerFields, parseHeader } from './header.ts'
import { QedImage } from './image.ts'
import { createOptions, options, type QedCreateOptions, type QedOptions } from './options.ts'

export type { QedCreateOptions, QedOptions } from './options.ts'

async function open(context: OpenContext<QedOptions>): Promise<OpenImage> {
  const { children, readOnly, inspect, check } = context
  const file = children.require('file')
  const bytes = new Uint8Array(headerFields)
  await file.read(0, bytes)
  const header = parseHeader(bytes, file.size)
  const backingName = await readName(file, header)
  if (backingName !== undefined && !inspect) {
    const raw = (header.features & Feature.backingFormatNoProbe) !== 0
    await context.reference('backing', { filename: backingName, ...(raw ? { format: 'raw' } : {}) })
  }
  const image = new QedImage({ file, header, backingName, readOnly, backing: () => children.get('backing') })
  if (!readOnly && !inspect && !check) await image.activate((text) => context.warn(text))
  return image
}

async function readName(file: ChildHandle, { name }: Header): Promise<string | undefined> {
  if (name === undefined || name.length === 0) return undefined
  const bytes = new Uint8Array(name.length)
  await file.read(name.offset, bytes)
  const text = new TextDecoder().decode(bytes)
  if (text.includes('\0')) throw new BlockError('EINVAL', 'the name of the backing file has a zero byte in it')
  return text
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
