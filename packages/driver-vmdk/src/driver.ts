/** The descriptor of this driver. */
import { type DriverDescriptor, defineDriver } from '@diskgraph/core/driver'
import { checkSettings, create } from './create.ts'
import { isDescriptor } from './descriptor.ts'
import { isSparse } from './header.ts'
import { openImage } from './open.ts'
import { createOptions, options, type VmdkCreateOptions, type VmdkOptions } from './options.ts'
import { streamImage } from './stream.ts'

/** The driver `vmdk`. */
export const vmdk: DriverDescriptor = defineDriver<VmdkOptions, VmdkCreateOptions>()({
  name: 'vmdk',
  kind: 'format',
  description: 'VMDK images of VMware: sparse, flat, split and stream-optimized.',
  options,
  createOptions,
  compressedWrites: true,
  probe: (head) => (isSparse(head) || isDescriptor(head) ? 100 : 0),
  open: openImage,
  validateCreate: checkSettings,
  create,
  stream: streamImage,
})
