/** The descriptor of this driver. */
import { type DriverDescriptor, Permission } from '@diskgraph/core/driver'
import { create } from './create.ts'
import { hasMagic } from './header/header.ts'
import { CryptMethod } from './header/layout.ts'
import { InspectedImage, Qcow2Image } from './image.ts'
import { seldom } from './lazy.ts'
import { checkCreateOptions } from './new-image.ts'
import { activate, openState } from './open.ts'
import { amendOptions, createOptions, openOptions } from './options.ts'
import { streamImage } from './stream.ts'

/** The driver `qcow2`. */
export const qcow2: DriverDescriptor = {
  name: 'qcow2',
  kind: 'format',
  description: "QEMU's copy-on-write image format, versions 2 and 3.",
  options: openOptions,
  createOptions,
  amendOptions,
  compressedWrites: true,
  probe: (head) => (hasMagic(head) ? 100 : 0),
  open: async (context) => {
    const state = await openState(context)
    const { value } = state.header
    const locked = value.cryptMethod !== CryptMethod.none && state.cipher === undefined
    if (locked || (context.inspect && state.geometry.external)) return new InspectedImage(state)
    if (!context.readOnly && !context.inspect && !context.check) await activate(state)
    return new Qcow2Image(state)
  },
  // Who else writes to the data would pass the mapping by; it may have to be made longer.
  childPermissions: ({ name, readOnly }) => {
    if (name !== 'dataFile') return undefined
    const { ConsistentRead, Write, Resize, WriteUnchanged } = Permission
    const writes = readOnly ? 0 : Write | Resize
    return { permissions: ConsistentRead | writes, shared: ConsistentRead | WriteUnchanged }
  },
  validateCreate: (options) => {
    checkCreateOptions(options)
  },
  create,
  measure: async (request) => (await seldom()).measureImage(request),
  stream: streamImage,
}
