import type { DriverDescriptor } from '@diskgraph/core/driver'
import { createOnDevice } from './create.ts'
import { isBlockDevice } from './device-names.ts'
import { withoutPrefix } from './file.ts'
import { openImage } from './open.ts'
import { fileSchemas, hostDeviceCreateSchemas } from './options.ts'

/** The `host_device` driver: block devices of the host. */
export const hostDevice: DriverDescriptor = {
  name: 'host_device',
  kind: 'protocol',
  description: 'a block device',
  options: fileSchemas,
  createOptions: hostDeviceCreateSchemas,
  prefixes: ['host_device'],
  claimsPath: isBlockDevice,
  parseFilename: (filename) => ({ filename: withoutPrefix(filename, 'host_device:') }),
  open: (context) => openImage(context, 'host_device'),
  create: createOnDevice,
}
