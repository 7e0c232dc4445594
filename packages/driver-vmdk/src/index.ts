/** VMDK images, the disks of VMware. */
import { vmdkDriver } from './driver.ts'
import { nodeZlib } from './zlib-node.ts'

export type { Subformat, VmdkCreateOptions, VmdkOptions } from './options.ts'

/** The driver `vmdk`. */
export const vmdk = vmdkDriver(nodeZlib)
