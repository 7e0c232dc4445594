/** The driver `s3`: an object in a bucket, read by ranges. */
import type { DriverDescriptor } from '@diskgraph/core/driver'
import { httpTransport, openHttp } from '@diskgraph/remote'
import { checkOptions, formatFilename, s3Options } from './options.ts'

export type { S3Options } from './options.ts'

/** The driver `s3`. Read-only. */
export const s3: DriverDescriptor = {
  name: 's3',
  kind: 'protocol',
  description: 'An object in a bucket of S3 or a server like it, read by ranges.',
  imageMethods: [],
  options: s3Options,
  prefixes: ['s3'],
  parseFilename: (filename) => ({ url: filename }),
  formatFilename,
  open(context) {
    context.becomeReadOnly('the driver s3 does not write')
    return openHttp(context, checkOptions(context), httpTransport)
  },
}
