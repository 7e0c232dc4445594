import { type DriverDescriptor, defineDriver } from '@diskgraph/core/driver'
import { parseFilename } from './filename.ts'
import { openDirectory } from './open.ts'
import { schemas, type VvfatOptions } from './options.ts'

export type { VvfatOptions } from './options.ts'

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    vvfat: { open: VvfatOptions }
  }
}

/** The driver `vvfat`. */
export const vvfat: DriverDescriptor = defineDriver<VvfatOptions>()({
  name: 'vvfat',
  kind: 'protocol',
  description: 'A directory of the host as a disk with a FAT file system.',
  imageMethods: ['blockStatus'],
  options: schemas,
  prefixes: ['fat'],
  parseFilename,
  open: openDirectory,
})
