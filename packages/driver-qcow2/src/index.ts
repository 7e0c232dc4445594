/** QEMU's copy-on-write image format. */
export { qcow2 } from './driver.ts'
export type { OverlapCheckFlags, Qcow2CreateOptions, Qcow2Options } from './options.ts'
