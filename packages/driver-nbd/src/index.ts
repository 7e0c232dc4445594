/** The driver `nbd`: a disk that a server exports. */
import type { DriverDescriptor } from '@diskgraph/core/driver'
import { openImage } from './image.ts'
import { formatFilename, parseFilename } from './names.ts'
import { nbdOptions } from './options.ts'

export type { NbdOptions, NbdServerAddress } from './options.ts'

/** The driver `nbd`. */
export const nbd: DriverDescriptor = {
  name: 'nbd',
  kind: 'protocol',
  description: 'A disk that a server exports over NBD.',
  imageMethods: ['write', 'writeZeroes', 'discard', 'truncate', 'blockStatus'],
  options: nbdOptions,
  prefixes: ['nbd', 'nbd+tcp', 'nbd+unix'],
  parseFilename,
  formatFilename,
  storageExists: true,
  open: openImage,
}
