/** QCOW images, QEMU's first copy-on-write format. */
import {
  BlockError,
  type DriverDescriptor,
  type DriverInfo,
  defineDriver,
  type OpenContext,
  type OpenImage,
} from '@diskgraph/core/driver'
import { readBackingName } from '@diskgraph/sparse'
import { checkSettings, create } from './create.ts'
import { CryptMethod, type Header, hasMagic, headerFields, parseHeader } from './header.ts'
import { QcowImage } from './image.ts'
import { createOptions, options, type QcowCreateOptions, type QcowOptions } from './options.ts'

export type { QcowCreateOptions, QcowOptions } from './options.ts'

async function open(context: OpenContext<QcowOptions>): Promise<OpenImage> {
  const { children, readOnly, inspect } = context
  const file = children.require('file')
  const bytes = new Uint8Array(headerFields)
  await file.read(0, bytes)
  const header = parseHeader(bytes, file.size)
  const backingName = await readBackingName(file, header.name)
  if (header.cryptMethod !== CryptMethod.none) return encrypted(header, backingName, inspect)
  if (backingName !== undefined && !inspect) await context.reference('backing', { filename: backingName })
  return new QcowImage({ file, header, backingName, readOnly, backing: () => children.get('backing') })
}

/** An encrypted image can be looked at. */
function encrypted({ size, clusterBits }: Header, backingName: string | undefined, inspect: boolean): OpenImage {
  const refusal = (): BlockError =>
    new BlockError('ENOTSUP', 'the image is encrypted (AES), which this driver does not read', {
      hint: "convert it with the tools that made it, to qcow2 with 'encrypt.format=luks'",
    })
  if (!inspect) throw refusal()
  const info: DriverInfo = {
    clusterSize: 2 ** clusterBits,
    encrypted: true,
    ...(backingName === undefined ? {} : { backingFilename: backingName }),
  }
  return { size, read: () => Promise.reject(refusal()), info: () => Promise.resolve(info) }
}

/** The driver `qcow`. */
export const qcow: DriverDescriptor = defineDriver<QcowOptions, QcowCreateOptions>()({
  name: 'qcow',
  kind: 'format',
  description: "QEMU's first copy-on-write image format.",
  options,
  createOptions,
  compressedWrites: true,
  probe: (head) => (hasMagic(head) ? 100 : 0),
  open,
  validateCreate: (all) => {
    checkSettings(all)
  },
  create,
})
