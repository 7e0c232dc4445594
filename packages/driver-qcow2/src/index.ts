/** QEMU's copy-on-write image format for Node. */
import type { DriverDescriptor } from '@diskgraph/core/driver'
import { nodeCodecs } from './compressed/codecs-node.ts'
import { qcow2Driver } from './driver.ts'

export type {
  NewQcow2Encryption,
  OverlapCheckFlags,
  Qcow2CreateOptions,
  Qcow2Encryption,
  Qcow2Options,
} from './options.ts'

/** The driver `qcow2`. */
export const qcow2: DriverDescriptor = qcow2Driver(nodeCodecs)
