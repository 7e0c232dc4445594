/** VMDK images, the disks of VMware. */
export { vmdk } from './driver.ts'
export type { Subformat, VmdkCreateOptions, VmdkOptions } from './options.ts'
