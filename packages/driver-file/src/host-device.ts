import type { DriverDescriptor } from '@diskgraph/core/driver'
import { createOnDevice } from './create.ts'
import { isDevice } from './device-names.ts'
import { nameOfPath, withoutPrefix } from './file.ts'
import { openImage } from './open.ts'
import { fileSchemas, hostDeviceCreateSchemas } from './options.ts'

/** The `host_device` driver: devices of the host. Those of characters have no bytes, as in QEMU. */
export const hostDevice: DriverDescriptor = {
  name: 'host_device',
  kind: 'protocol',
  description: 'a block device',
  imageMethods: ['write', 'writeZeroes', 'discard', 'truncate', 'blockStatus'],
  options: fileSchemas,
  createOptions: hostDeviceCreateSchemas,
  prefixes: ['host_device'],
  claimsPath: isDevice,
  parseFilename: (filename) => ({ filename: withoutPrefix(filename, 'host_device:') }),
  formatFilename: nameOfPath,
  open: (context) => openImage(context, 'host_device'),
  create: createOnDevice,
}
