/** The driver `ssh`: a file on another machine. */
import type { DriverDescriptor } from '@diskgraph/core/driver'
import { createFile, openImage, removeFile } from './image.ts'
import { formatFilename, parseFilename } from './names.ts'
import { sshCreateOptions, sshOptions } from './options.ts'

export type { HostKeyCheck, SshCreateOptions, SshOptions, SshServerAddress } from './options.ts'

/** The driver `ssh`. */
export const ssh: DriverDescriptor = {
  name: 'ssh',
  kind: 'protocol',
  description: 'A file on another machine, over SSH.',
  imageMethods: ['write', 'truncate'],
  options: sshOptions,
  createOptions: sshCreateOptions,
  prefixes: ['ssh'],
  parseFilename,
  formatFilename,
  open: openImage,
  create: createFile,
  remove: removeFile,
}
