/** The drivers `http` and `https`, over a platform's HTTP client. */
import type { DriverDescriptor, OptionSchemas } from '@diskgraph/core/driver'
import { type MakeTransport, openHttp } from '@diskgraph/remote'
import { checkOptions, formatFilename } from './options.ts'

/** Makes the descriptor of a protocol over a platform's HTTP client. */
export function httpDriver(
  protocol: 'http' | 'https',
  options: OptionSchemas,
  makeTransport: MakeTransport,
): DriverDescriptor {
  return {
    name: protocol,
    kind: 'protocol',
    description: `A file on a server, read by ranges over ${protocol}.`,
    imageMethods: [],
    options,
    prefixes: [protocol],
    parseFilename: (filename) => ({ url: filename }),
    formatFilename: (given) => formatFilename(protocol, given),
    open(context) {
      context.becomeReadOnly('curl driver does not support writes')
      return openHttp(context, checkOptions(protocol, context), makeTransport)
    },
  }
}
