/** The drivers `ftp` and `ftps`: a file on a server, read from where it is asked for. */
import type { DriverDescriptor, OptionSchemas } from '@diskgraph/core/driver'
import { openRemote, readCertificates } from '@diskgraph/remote'
import { FtpFile } from './file.ts'
import { checkOptions, formatFilename, ftpOptions, ftpsOptions } from './options.ts'

export type { FtpOptions, FtpsOptions } from './options.ts'

function driver(protocol: 'ftp' | 'ftps', options: OptionSchemas): DriverDescriptor {
  return {
    name: protocol,
    kind: 'protocol',
    description: `A file on a server, read over ${protocol}.`,
    imageMethods: [],
    options,
    prefixes: [protocol],
    parseFilename: (filename) => ({ url: filename }),
    formatFilename: (given) => formatFilename(protocol, given),
    async open(context) {
      context.becomeReadOnly('curl driver does not support writes')
      const { caFile, ...settings } = checkOptions(protocol, context)
      const file = new FtpFile({ ...settings, ca: await readCertificates(caFile) })
      const image = await openRemote(settings.url.href, file, settings, context.signal)
      if (!file.isVersioned) {
        context.warn(
          `'${settings.url.href}': the server does not tell when the file has changed (MDTM); ` +
            'a change of it while it is open is noticed only by its size',
        )
      }
      return image
    },
  }
}

/** The driver `ftp`: a file on a server. Read-only. */
export const ftp: DriverDescriptor = driver('ftp', ftpOptions)

/** The driver `ftps`: as {@link ftp}, over TLS with the server's certificate verified. */
export const ftps: DriverDescriptor = driver('ftps', ftpsOptions)
