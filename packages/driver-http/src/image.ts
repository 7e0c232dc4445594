/** The image of an `http` or `https` node. */
import {
  BlockError,
  type DriverDescriptor,
  done,
  isBlockError,
  type Limits,
  type OpenContext,
  type OpenImage,
  type OptionSchemas,
  withoutSecrets,
} from '@diskgraph/core/driver'
import { checkOptions, formatFilename, type Settings } from './options.ts'
import { ReadAhead } from './read-ahead.ts'
import { RemoteFile } from './remote-file.ts'
import type { MakeTransport, Transport } from './transport.ts'

class HttpImage implements OpenImage {
  readonly identity: string
  readonly limits: Partial<Limits>
  readonly #settings: Settings
  readonly #transport: Transport
  readonly #file: RemoteFile
  readonly #reads: ReadAhead

  constructor(settings: Settings, transport: Transport, file: RemoteFile, reads: ReadAhead) {
    this.identity = settings.address.url.href
    this.limits = { optimalTransfer: settings.readahead }
    this.#settings = settings
    this.#transport = transport
    this.#file = file
    this.#reads = reads
  }

  get size(): number {
    return this.#file.size
  }

  read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    const result = this.#reads.read(offset, buf, signal)
    return result === done ? done : result.catch((error: unknown) => this.#explain(error, offset, buf.length))
  }

  async invalidateCache(): Promise<void> {
    await this.#reads.clear()
    this.#file.forget()
    this.#reads.put(0, await firstBytes(this.#file, this.#settings, undefined))
  }

  async close(): Promise<void> {
    await this.#reads.clear()
    this.#transport.close()
  }

  #explain(error: unknown, offset: number, length: number): never {
    if (!isBlockError(error) || error.code === 'ECANCELED') throw error
    const attempt = `cannot read ${length} bytes at ${offset} of '${withoutSecrets(this.#settings.address.url.href)}'`
    throw new BlockError(error.code, `${attempt}: ${error.message}`, { cause: error, hint: error.hint })
  }
}

/** Transfers the start of the file, by which its size is learnt; at least what probing a format looks at. */
async function firstBytes(file: RemoteFile, settings: Settings, signal: AbortSignal | undefined): Promise<Uint8Array> {
  let head = new Uint8Array(0)
  const longest = Math.max(2048, Math.min(settings.readahead, 64 * 1024))
  await file.transfer(
    0,
    longest,
    (offset, chunk) => {
      if (head.length === 0) head = new Uint8Array(Math.min(longest, file.size))
      head.set(chunk, offset)
    },
    signal,
  )
  return head
}

async function open(
  protocol: 'http' | 'https',
  makeTransport: MakeTransport,
  context: OpenContext,
): Promise<OpenImage> {
  context.becomeReadOnly('curl driver does not support writes')
  const settings = checkOptions(protocol, context)
  const transport = await makeTransport(settings)
  try {
    const file = new RemoteFile(settings, transport)
    const head = await firstBytes(file, settings, context.signal)
    if (!file.isVersioned) {
      context.warn(
        `'${withoutSecrets(settings.address.url.href)}': the server tells neither ETag nor Last-Modified; ` +
          'a change of the file while it is open is noticed only by its size',
      )
    }
    const reads = new ReadAhead(file, settings)
    reads.put(0, head)
    return new HttpImage(settings, transport, file, reads)
  } catch (error) {
    transport.close()
    throw error
  }
}

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
    options,
    prefixes: [protocol],
    parseFilename: (filename) => ({ url: filename }),
    formatFilename: (given) => formatFilename(protocol, given),
    open: (context) => open(protocol, makeTransport, context),
  }
}
