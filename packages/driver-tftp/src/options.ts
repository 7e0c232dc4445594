/** Options of `tftp` nodes: types, schema, and what is checked before anything is sent. */
import { BlockError, type Clock, type OpenContext } from '@diskgraph/core/driver'
import { parseAddress } from '@diskgraph/remote'
import { readRequest } from './packets.ts'

/** Options of a `tftp` node. */
export interface TftpOptions {
  /** `tftp://HOST[:PORT]/PATH`. */
  url: string
  /** Longest file that is taken, in bytes; all of it is kept in memory. Default 64 MiB. */
  maxSize?: number
  /** Seconds that fetching the file may take. Default 300. 0: no limit. */
  timeout?: number
  /** Seconds without progress until the last datagram is sent again. Default 1. */
  idleTimeout?: number
  /** How often it is sent again without progress. Default 5. */
  retries?: number
  /** Bytes of a datagram that the server is asked for. Default 1428, which no Ethernet takes apart. */
  blockSize?: number
  /** How many datagrams the server is asked to send before it waits for an answer. Default 16. */
  windowSize?: number
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    tftp: { open: TftpOptions }
  }
}

/** Schema of {@link TftpOptions}. */
export const tftpOptions = {
  url: { type: 'string', required: true, strong: true, description: 'URL of the file' },
  maxSize: {
    type: 'integer',
    size: true,
    minimum: 0,
    maximum: 2 ** 32,
    default: 64 * 2 ** 20,
    description: 'Longest file that is taken, in bytes; all of it is kept in memory',
  },
  timeout: {
    type: 'integer',
    minimum: 0,
    maximum: 1_000_000,
    default: 300,
    description: 'Seconds that fetching the file may take; 0 for no limit',
  },
  idleTimeout: {
    type: 'number',
    minimum: 0.001,
    maximum: 10_000,
    default: 1,
    description: 'Seconds without progress until the last datagram is sent again',
  },
  retries: {
    type: 'integer',
    minimum: 0,
    maximum: 100,
    default: 5,
    description: 'How often it is sent again without progress',
  },
  blockSize: {
    type: 'integer',
    minimum: 8,
    maximum: 65464,
    default: 1428,
    description: 'Bytes of a datagram that the server is asked for',
  },
  windowSize: {
    type: 'integer',
    minimum: 1,
    maximum: 1024,
    default: 16,
    description: 'Datagrams that the server is asked to send before it waits for an answer',
  },
} as const

/** Settings of a node, complete. */
export interface TftpSettings {
  readonly url: URL
  readonly host: string
  readonly port: number
  /** As it is sent. */
  readonly path: string
  readonly maxSize: number
  /** Times in milliseconds; infinite for no limit. */
  readonly timeout: number
  readonly idleTimeout: number
  readonly retries: number
  readonly blockSize: number
  readonly windowSize: number
  readonly clock: Clock
}

/** Longest request: a server that knows no options reads 512 bytes at most (RFC 2347). */
const longestRequest = 512

/** The settings that options come to. EINVAL for options that are wrong. */
export function checkOptions(context: OpenContext<TftpOptions>): TftpSettings {
  const options = context.options as Required<TftpOptions>
  const { url, username, password } = parseAddress('tftp', options.url)
  if (username !== undefined || password !== undefined) {
    throw new BlockError('EINVAL', 'TFTP knows no users: remove the user name from the URL')
  }
  return {
    url,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 69 : Number(url.port),
    path: pathOf(url),
    maxSize: options.maxSize,
    timeout: options.timeout === 0 ? Number.POSITIVE_INFINITY : options.timeout * 1000,
    idleTimeout: options.idleTimeout * 1000,
    retries: options.retries,
    blockSize: options.blockSize,
    windowSize: options.windowSize,
    clock: context.clock,
  }
}

/** As in curl: without the slash behind the host, and without the mode (RFC 3617). */
function pathOf(url: URL): string {
  const wrong = (why: string): BlockError => new BlockError('EINVAL', `'${url.href}' ${why}`)
  const text = `${url.pathname}${url.search}`.replace(/;mode=octet$/i, '')
  if (/;mode=\w*$/i.test(text)) throw wrong('asks for another mode than octet, in which alone a disk is transferred')
  let path: string
  try {
    path = decodeURIComponent(text).slice(1)
  } catch {
    throw wrong('is not a URL: its path is not UTF-8')
  }
  if (path === '') throw wrong('names no file')
  if (path.includes('\0') || readRequest(path, {}).length > longestRequest - 64) {
    throw wrong('has a path that TFTP cannot ask for')
  }
  return path
}
