import type { DriverDescriptor } from '@diskgraph/core/driver'
import { readConfigFile } from './config-file.node.ts'
import { blkdebugDriver } from './driver.ts'

export { type BlkdebugEvent, blkdebugEvents } from './events.ts'
export type { BlkdebugOptions, InjectErrorOptions, PermissionName, SetStateOptions } from './options.ts'
export type { RequestKind } from './rules.ts'

/** The driver `blkdebug`. */
export const blkdebug: DriverDescriptor = blkdebugDriver(readConfigFile)
