import { BlockError, type DriverDescriptor } from '@diskgraph/core/driver'
import { createFile, removeFile } from './create.ts'
import { openImage } from './open.ts'
import { fileCreateSchemas, fileSchemas } from './options.ts'

/** The `file` driver: regular files of the host. */
export const file: DriverDescriptor = {
  name: 'file',
  kind: 'protocol',
  description: 'a regular file',
  options: fileSchemas,
  createOptions: fileCreateSchemas,
  prefixes: ['file'],
  parseFilename: (filename) => ({ filename: withoutPrefix(filename, 'file:') }),
  formatFilename: nameOfPath,
  open: (context) => openImage(context, 'file'),
  create: createFile,
  remove: (options) => {
    if (typeof options.filename !== 'string')
      throw new BlockError('EINVAL', "A value is required for option 'filename'")
    return removeFile(options.filename)
  },
}

/** `filename` without a leading `prefix`. */
export function withoutPrefix(filename: string, prefix: string): string {
  return filename.startsWith(prefix) ? filename.slice(prefix.length) : filename
}

/** The name of a file or device: its path, as no other option changes the content. */
export function nameOfPath({ filename }: Readonly<Record<string, unknown>>): string | undefined {
  return typeof filename === 'string' ? plainName(filename) : undefined
}

/** A name that reads as a path, although a colon may stand in it. What references beside it are relative to stays, too. */
function plainName(filename: string): string {
  return /^(?![A-Za-z]:[\\/])[^/]*:/.test(filename) ? `./${filename}` : filename
}
