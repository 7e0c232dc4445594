/** The descriptor of this driver, for a platform's codec. */
import { type DriverDescriptor, defineDriver } from '@diskgraph/core/driver'
import type { ZlibCodec } from './compressed-grains.ts'
import { checkSettings, create } from './create.ts'
import { isDescriptor } from './descriptor.ts'
import { isSparse } from './header.ts'
import { openImage } from './open.ts'
import { createOptions, options, type VmdkCreateOptions, type VmdkOptions } from './options.ts'

/** Makes the descriptor. */
export function vmdkDriver(codec: ZlibCodec): DriverDescriptor {
  return defineDriver<VmdkOptions, VmdkCreateOptions>()({
    name: 'vmdk',
    kind: 'format',
    description: 'VMDK images of VMware: sparse, flat, split and stream-optimized.',
    options,
    createOptions,
    compressedWrites: true,
    probe: (head) => (isSparse(head) || isDescriptor(head) ? 100 : 0),
    open: (context) => openImage(context, codec),
    validateCreate: checkSettings,
    create,
  })
}
