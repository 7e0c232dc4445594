/** QCOW images, version 1: the first format of QEMU, in browsers. */
import { qcowDriver } from './driver.ts'
import { inflateByStream } from './inflate-browser.ts'

export type { QcowCreateOptions, QcowOptions } from './options.ts'

/** The driver `qcow`. */
export const qcow = qcowDriver(inflateByStream)
