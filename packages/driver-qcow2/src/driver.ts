/** The descriptor of this driver. */
import type { DriverDescriptor } from '@diskgraph/core/driver'
import { checkCreateOptions, create } from './create.ts'
import { hasMagic } from './header/header.ts'
import { InspectedImage, Qcow2Image } from './image.ts'
import { seldom } from './lazy.ts'
import { activate, openState, unsupportedFeature } from './open.ts'
import { createOptions, openOptions } from './options.ts'

/** The driver `qcow2`. */
export const qcow2: DriverDescriptor = {
  name: 'qcow2',
  kind: 'format',
  description: "QEMU's copy-on-write image format, versions 2 and 3.",
  options: openOptions,
  createOptions,
  compressedWrites: true,
  probe: (head) => (hasMagic(head) ? 100 : 0),
  open: async (context) => {
    const state = await openState(context)
    if (unsupportedFeature(state.header.value) !== undefined) return new InspectedImage(state)
    if (!context.readOnly && !context.inspect && !context.check) await activate(state)
    return new Qcow2Image(state)
  },
  validateCreate: (options) => {
    checkCreateOptions(options)
  },
  create,
  measure: async (request) => (await seldom()).measureImage(request),
}
