import { BlockError, type DriverDescriptor } from '@diskgraph/core/driver'
import { blkdebugDriver } from './driver.ts'

export { type BlkdebugEvent, blkdebugEvents } from './events.ts'
export type { BlkdebugOptions, InjectErrorOptions, PermissionName, SetStateOptions } from './options.ts'
export type { RequestKind } from './rules.ts'

/** The driver `blkdebug`, without configuration files. */
export const blkdebug: DriverDescriptor = blkdebugDriver(async (path) => {
  throw new BlockError('ENOTSUP', `cannot read the blkdebug config file '${path}': there are no files here`, {
    hint: 'give injectError and setState instead',
  })
})
