/** VMDK images, the disks of VMware, in browsers. */
import { vmdkDriver } from './driver.ts'
import { browserZlib } from './zlib-browser.ts'

export type { Subformat, VmdkCreateOptions, VmdkOptions } from './options.ts'

/** The driver `vmdk`. */
export const vmdk = vmdkDriver(browserZlib)
