/** QEMU's copy-on-write image format. */
export { qcow2 } from './driver.ts'
export type {
  NewQcow2Encryption,
  OverlapCheckFlags,
  Qcow2CreateOptions,
  Qcow2Encryption,
  Qcow2Options,
} from './options.ts'
