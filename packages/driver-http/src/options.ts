/** Options of `http` and `https` nodes: types, schemas, and what is checked before anything is sent. */
import {
  BlockError,
  type Clock,
  jsonFilename,
  type OpenContext,
  type OptionSchemas,
  withoutCredentials,
} from '@diskgraph/core/driver'
import { type Address, parseAddress } from './address.ts'

/** Options of an `http` node. */
export interface HttpOptions {
  /** Begins with `http://`. A user name and password in it are used and never shown. */
  url: string
  /** Shortest transfer, in bytes; a multiple of 512. Default 256 KiB. 0: transfer what is asked for and keep nothing. */
  readahead?: number
  /** Seconds that a transfer may take, retries and waits included. Default 5. 0: no limit. */
  timeout?: number
  /** User name for the server. */
  username?: string
  /** Id of the secret that holds the password. */
  passwordSecret?: string
  /** Proxies are not supported: refused. */
  proxyUsername?: string
  /** Proxies are not supported: refused. */
  proxyPasswordSecret?: string
  /** Cookies to send, `name=value; name=value`. */
  cookie?: string
  /** Id of the secret that holds the cookies. */
  cookieSecret?: string
  /** Seconds until a connection must stand. Default 5. */
  connectTimeout?: number
  /** Seconds without a byte from the server that end a transfer. Default 5. */
  idleTimeout?: number
  /** How often a transfer that broke off is tried again without any progress. Default 3. */
  retries?: number
  /** Transfers at the same time. Default 6. */
  connections?: number
  /** Bytes of finished transfers that are kept. Default 4 MiB. */
  cacheSize?: number
  /** Which redirects are followed. Default `safe`. */
  redirect?: RedirectRule
  /** How many redirects in a row are followed. Default 5. */
  maxRedirects?: number
}

/** Options of an `https` node: those of `http`, with a URL that begins with `https://`, and TLS. */
export interface HttpsOptions extends HttpOptions {
  /** Verify the server's certificate and host name. Default true. */
  sslverify?: boolean
  /** File of certificates (PEM) to trust instead of those that the runtime knows. */
  ca?: string
}

/**
 * - `safe`: not from https to http, not from a public host to a private network, a link-local or a loopback address;
 * - `any-address`: not from https to http;
 * - `same-origin`: only to another path of the same server;
 * - `none`: not at all.
 */
export type RedirectRule = 'safe' | 'any-address' | 'same-origin' | 'none'

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    http: { open: HttpOptions }
    https: { open: HttpsOptions }
  }
}

/** Schema of {@link HttpOptions}. */
export const httpOptions: OptionSchemas = {
  url: { type: 'string', required: true, strong: true, description: 'URL of the file' },
  readahead: {
    type: 'integer',
    size: true,
    minimum: 0,
    maximum: 2 ** 30,
    default: 256 * 1024,
    description: 'Shortest transfer in bytes, a multiple of 512',
  },
  timeout: { type: 'integer', default: 5, description: 'Seconds that a transfer may take; 0 for no limit' },
  username: { type: 'string', strong: true, description: 'User name for the server' },
  passwordSecret: { type: 'string', strong: true, description: 'Id of the secret that holds the password' },
  proxyUsername: { type: 'string', description: 'User name for a proxy (proxies are not supported)' },
  proxyPasswordSecret: { type: 'string', description: 'Id of the secret for a proxy (proxies are not supported)' },
  cookie: { type: 'string', strong: true, confidential: true, description: 'Cookies to send' },
  cookieSecret: { type: 'string', strong: true, description: 'Id of the secret that holds the cookies' },
  connectTimeout: {
    type: 'number',
    minimum: 0.001,
    maximum: 10000,
    default: 5,
    description: 'Seconds until a connection must stand',
  },
  idleTimeout: {
    type: 'number',
    minimum: 0.001,
    maximum: 10000,
    default: 5,
    description: 'Seconds without a byte from the server that end a transfer',
  },
  retries: {
    type: 'integer',
    minimum: 0,
    maximum: 100,
    default: 3,
    description: 'How often a transfer that broke off is tried again without progress',
  },
  connections: { type: 'integer', minimum: 1, maximum: 64, default: 6, description: 'Transfers at the same time' },
  cacheSize: {
    type: 'integer',
    size: true,
    minimum: 0,
    maximum: 2 ** 31,
    default: 4 * 2 ** 20,
    description: 'Bytes of finished transfers that are kept',
  },
  redirect: {
    type: 'enum',
    values: ['safe', 'any-address', 'same-origin', 'none'],
    default: 'safe',
    description: 'Which redirects are followed',
  },
  maxRedirects: {
    type: 'integer',
    minimum: 0,
    maximum: 20,
    default: 5,
    description: 'How many redirects in a row are followed',
  },
}

/** Schema of {@link HttpsOptions}. */
export const httpsOptions: OptionSchemas = {
  ...httpOptions,
  sslverify: {
    type: 'boolean',
    strong: true,
    default: true,
    description: "Verify the server's certificate and host name",
  },
  ca: { type: 'string', description: 'File of certificates (PEM) to trust instead of those that the runtime knows' },
}

/** Options as {@link checkOptions} leaves them: complete, secrets fetched. */
export interface Settings {
  readonly address: Address
  readonly username: string | undefined
  readonly password: string | undefined
  readonly cookie: string | undefined
  readonly readahead: number
  readonly cacheSize: number
  readonly connections: number
  readonly retries: number
  /** Times in milliseconds; infinite for no limit. */
  readonly timeout: number
  readonly connectTimeout: number
  readonly idleTimeout: number
  readonly redirect: RedirectRule
  readonly maxRedirects: number
  readonly sslverify: boolean
  readonly ca: string | undefined
  readonly clock: Clock
}

/** Longest `timeout`, in seconds. */
const maxTimeout = 10_000

/** The settings that options come to. EINVAL for options that are wrong or do not go together, with QEMU's texts. */
export function checkOptions(protocol: 'http' | 'https', context: OpenContext): Settings {
  const options = context.options as unknown as Required<HttpOptions> & Partial<HttpsOptions>
  const { readahead, timeout, cookie, cookieSecret, proxyUsername, proxyPasswordSecret } = options
  if (readahead % 512 !== 0) {
    throw new BlockError('EINVAL', `HTTP_READAHEAD_SIZE ${readahead} is not a multiple of 512`)
  }
  if (timeout < 0 || timeout > maxTimeout) {
    throw new BlockError('EINVAL', 'timeout parameter is too large or negative')
  }
  if (cookie !== undefined && cookieSecret !== undefined) {
    throw new BlockError('EINVAL', 'curl driver cannot handle both cookie and cookie secret')
  }
  if (proxyUsername !== undefined || proxyPasswordSecret !== undefined) {
    throw new BlockError('ENOTSUP', 'proxies are not supported: remove proxy-username and proxy-password-secret')
  }
  const address = parseAddress(protocol, options.url)
  return {
    clock: context.clock,
    ...credentials(options, address, context),
    address,
    readahead,
    cacheSize: readahead === 0 ? 0 : options.cacheSize,
    connections: options.connections,
    retries: options.retries,
    timeout: timeout === 0 ? Number.POSITIVE_INFINITY : timeout * 1000,
    connectTimeout: options.connectTimeout * 1000,
    idleTimeout: options.idleTimeout * 1000,
    redirect: options.redirect,
    maxRedirects: options.maxRedirects,
    sslverify: options.sslverify ?? true,
    ca: options.ca,
  }
}

function credentials(
  options: HttpOptions,
  address: Address,
  context: OpenContext,
): Pick<Settings, 'username' | 'password' | 'cookie'> {
  const secret = (id: string | undefined): string | undefined =>
    id === undefined ? undefined : new TextDecoder().decode(context.secret(id))
  const username = options.username ?? address.username
  const password = secret(options.passwordSecret) ?? address.password
  const cookie = secret(options.cookieSecret) ?? options.cookie
  if (password !== undefined && username === undefined) {
    throw new BlockError('EINVAL', 'a password needs a user name: give username')
  }
  if (username?.includes(':')) throw new BlockError('EINVAL', "a user name cannot contain ':'")
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a header must not hold
  if (cookie !== undefined && /[\x00-\x1f\x7f]/.test(cookie)) {
    throw new BlockError('EINVAL', 'the cookies contain control characters')
  }
  return { username, password, cookie }
}

/**
 * The name of a node with `options`: its URL without credentials, or a `json:` name where the URL alone would not
 * open the same file. Cookies are never part of it.
 */
export function formatFilename(protocol: string, options: Readonly<Record<string, unknown>>): string {
  const { url, username, passwordSecret, cookie, cookieSecret, sslverify } = options
  const address = withoutCredentials(String(url))
  const plain = username ?? passwordSecret ?? cookie ?? cookieSecret
  const verifies = sslverify === undefined || sslverify === true || sslverify === 'on'
  if (plain === undefined && verifies) return address
  const told = { username, passwordSecret, cookieSecret, ...(verifies ? {} : { sslverify }) }
  return jsonFilename({ driver: protocol, url: address, ...told })
}
