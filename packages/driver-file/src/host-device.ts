import type { DriverDescriptor } from '@diskgraph/core/driver'
import { createOnDevice } from './create.ts'
import { type DeviceKind, deviceKind } from './device-names.ts'
import { nameOfPath, withoutPrefix } from './file.ts'
import { openImage } from './open.ts'
import { fileSchemas, hostDeviceCreateSchemas } from './options.ts'

/** The `host_device` driver: devices of the host. Those of characters have no bytes, as in QEMU. */
export const hostDevice: DriverDescriptor = {
  ...deviceDriver('host_device', 'a block device'),
  createOptions: hostDeviceCreateSchemas,
  create: createOnDevice,
}

/** The `host_cdrom` driver: a drive for compact discs. Its image has the tray as `medium`. */
export const hostCdrom: DriverDescriptor = deviceDriver('host_cdrom', 'a drive for compact discs')

/** The `host_floppy` driver: a drive for floppy disks. Its image has the drive as `medium`. */
export const hostFloppy: DriverDescriptor = deviceDriver('host_floppy', 'a drive for floppy disks')

function deviceDriver(name: DeviceKind, description: string): DriverDescriptor {
  return {
    name,
    kind: 'protocol',
    description,
    options: fileSchemas,
    prefixes: [name],
    claimsPath: async (path) => (await deviceKind(path)) === name,
    parseFilename: (filename) => ({ filename: withoutPrefix(filename, `${name}:`) }),
    formatFilename: nameOfPath,
    open: (context) => openImage(context, name),
  }
}
