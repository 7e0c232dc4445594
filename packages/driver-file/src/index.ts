import type { FileCreateOptions, FileOptions, HostDeviceCreateOptions, HostDeviceOptions } from './options.ts'

export { file } from './file.ts'
export { hostCdrom, hostDevice, hostFloppy } from './host-device.ts'
export type { FileCreateOptions, FileOptions, HostDeviceCreateOptions, HostDeviceOptions } from './options.ts'
export { allowPromptWrites } from './prompt-writes.ts'

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    file: { open: FileOptions; create: FileCreateOptions }
    host_device: { open: HostDeviceOptions; create: HostDeviceCreateOptions }
    host_cdrom: { open: HostDeviceOptions }
    host_floppy: { open: HostDeviceOptions }
  }
}
