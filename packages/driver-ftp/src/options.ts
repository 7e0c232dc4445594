/** Options of `ftp` and `ftps` nodes: types, schemas, and what is checked before anything is sent. */
import {
  BlockError,
  jsonFilename,
  type OpenContext,
  type OptionSchemas,
  withoutCredentials,
} from '@diskgraph/core/driver'
import {
  type CredentialOptions,
  checkCredentials,
  checkReading,
  credentialOptions,
  parseAddress,
  type ReadingOptions,
  type ReadingSettings,
  readingOptions,
  type TlsOptions,
  tlsOptions,
} from '@diskgraph/remote'

/** Options of an `ftp` node. */
export interface FtpOptions extends CredentialOptions, ReadingOptions {
  /** Begins with `ftp://`. A user name and password in it are used and never shown. */
  url: string
  /** Proxies are not supported: refused. */
  proxyUsername?: string
  /** Proxies are not supported: refused. */
  proxyPasswordSecret?: string
}

/** Options of an `ftps` node: those of `ftp`, with a URL that begins with `ftps://`, and TLS. */
export interface FtpsOptions extends FtpOptions, TlsOptions {
  /**
   * When TLS begins: `implicit` with the connection (port 990), `explicit` after AUTH TLS (port 21). Default `implicit`.
   */
  tls?: 'implicit' | 'explicit'
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    ftp: { open: FtpOptions }
    ftps: { open: FtpsOptions }
  }
}

/** Schema of {@link FtpOptions}. */
export const ftpOptions: OptionSchemas = {
  url: { type: 'string', required: true, strong: true, description: 'URL of the file' },
  ...credentialOptions,
  proxyUsername: { type: 'string', description: 'User name for a proxy (proxies are not supported)' },
  proxyPasswordSecret: { type: 'string', description: 'Id of the secret for a proxy (proxies are not supported)' },
  ...readingOptions,
  connections: {
    type: 'integer',
    minimum: 1,
    maximum: 64,
    default: 2,
    description: 'Transfers, and so logins, at the same time',
  },
}

/** Schema of {@link FtpsOptions}. */
export const ftpsOptions: OptionSchemas = {
  ...ftpOptions,
  ...tlsOptions,
  tls: {
    type: 'enum',
    values: ['implicit', 'explicit'],
    default: 'implicit',
    strong: true,
    description: 'When TLS begins: with the connection (port 990), or after AUTH TLS (port 21)',
  },
}

/** Settings of a node, complete. */
export interface FtpSettings extends ReadingSettings {
  /** Without credentials. */
  readonly url: URL
  readonly host: string
  readonly port: number
  /** As it is sent. */
  readonly path: string
  readonly username: string
  readonly password: string
  readonly tls: 'none' | 'implicit' | 'explicit'
  readonly sslverify: boolean
  /** Certificates to trust. */
  readonly ca: string | undefined
}

/** The settings that options come to. EINVAL for options that are wrong or do not go together, with QEMU's texts. */
export function checkOptions(
  protocol: 'ftp' | 'ftps',
  context: OpenContext,
): Omit<FtpSettings, 'ca'> & { readonly caFile: string | undefined } {
  const options = context.options as unknown as FtpOptions & FtpsOptions
  const reading = checkReading(context)
  if (options.proxyUsername !== undefined || options.proxyPasswordSecret !== undefined) {
    throw new BlockError('ENOTSUP', 'proxies are not supported: remove proxy-username and proxy-password-secret')
  }
  const address = parseAddress(protocol, options.url)
  const { url } = address
  const credentials = checkCredentials(context, address)
  const tls = protocol === 'ftp' ? 'none' : (options.tls ?? 'implicit')
  return {
    ...reading,
    url,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (tls === 'implicit' ? 990 : 21) : Number(url.port),
    path: checkLine('the path', pathOf(url)),
    username: checkLine('the user name', credentials.username ?? 'anonymous'),
    password: checkLine(
      'the password',
      credentials.password ?? (credentials.username === undefined ? 'diskgraph@' : ''),
    ),
    tls,
    sslverify: options.sslverify ?? true,
    caFile: options.ca,
  }
}

/** Relative to where the user is after the login, as in curl; `//x` and `/%2Fx` are the root's. */
function pathOf(url: URL): string {
  const text = `${url.pathname}${url.search}`.replace(/;type=i$/i, '')
  const wrong = (why: string): BlockError => new BlockError('EINVAL', `'${url.href}' ${why}`)
  if (/;type=.$/i.test(text)) throw wrong('asks for another type than i, in which alone a disk is transferred')
  let path: string
  try {
    path = decodeURIComponent(text).slice(1)
  } catch {
    throw wrong('is not a URL: its path is not UTF-8')
  }
  if (path === '' || path.endsWith('/')) throw wrong('names no file')
  return path
}

/** What is sent as part of a line holds no end of a line. */
function checkLine(what: string, text: string): string {
  if (/[\r\n\0]/.test(text)) throw new BlockError('EINVAL', `${what} contains control characters`)
  return text
}

/**
 * The name of a node with `options`: its URL without credentials, or a `json:` name where the URL alone would not open the
 * same file.
 */
export function formatFilename(protocol: string, options: Readonly<Record<string, unknown>>): string {
  const { url, username, passwordSecret, sslverify, tls } = options
  const address = withoutCredentials(String(url))
  const told: Record<string, unknown> = { username, passwordSecret }
  if (sslverify === false || sslverify === 'off') told.sslverify = sslverify
  if (tls === 'explicit') told.tls = tls
  if (Object.values(told).every((value) => value === undefined)) return address
  return jsonFilename({ driver: protocol, url: address, ...told })
}
