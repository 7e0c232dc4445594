/** The driver `tftp`: a file on a server, fetched whole when it is opened. */
import {
  type DriverDescriptor,
  defineDriver,
  done,
  type OpenContext,
  type OpenImage,
  withoutCredentials,
} from '@diskgraph/core/driver'
import type { Content } from './content.ts'
import { download } from './download.ts'
import { checkOptions, type TftpOptions, type TftpSettings, tftpOptions } from './options.ts'

export type { TftpOptions } from './options.ts'

class TftpImage implements OpenImage {
  readonly identity: string
  readonly #settings: TftpSettings
  #content: Content

  constructor(settings: TftpSettings, content: Content) {
    this.identity = settings.url.href
    this.#settings = settings
    this.#content = content
  }

  get size(): number {
    return this.#content.size
  }

  read(offset: number, buf: Uint8Array): Promise<void> {
    this.#content.read(offset, buf)
    return done
  }

  async invalidateCache(): Promise<void> {
    this.#content = await download(this.#settings, undefined)
  }
}

/** The driver `tftp`. Read-only. */
export const tftp: DriverDescriptor = defineDriver<TftpOptions>()({
  name: 'tftp',
  kind: 'protocol',
  description: 'A file on a TFTP server, fetched whole when it is opened.',
  imageMethods: [],
  options: tftpOptions,
  prefixes: ['tftp'],
  parseFilename: (filename) => ({ url: filename }),
  formatFilename: ({ url }) => withoutCredentials(String(url)),
  async open(context: OpenContext<TftpOptions>) {
    context.becomeReadOnly('curl driver does not support writes')
    const settings = checkOptions(context)
    return new TftpImage(settings, await download(settings, context.signal))
  },
})
