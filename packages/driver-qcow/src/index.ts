/** QCOW images, version 1: the first format of QEMU. */
import { qcowDriver } from './driver.ts'
import { inflateByNode } from './inflate-node.ts'

export type { QcowCreateOptions, QcowOptions } from './options.ts'

/** The driver `qcow`. */
export const qcow = qcowDriver(inflateByNode)
