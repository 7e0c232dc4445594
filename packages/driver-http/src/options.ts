/** Options of `http` and `https` nodes: types, schemas, and what is checked before anything is sent. */
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
  checkProxy,
  checkReading,
  credentialOptions,
  type HttpSettings,
  type ProxyOptions,
  parseAddress,
  proxyOptions,
  type ReadingOptions,
  type RedirectOptions,
  readingOptions,
  redirectOptions,
  secretText,
  type TlsOptions,
  tlsOptions,
} from '@diskgraph/remote'
import { type Authentication, authorizerOf } from './authorization.ts'

/** Options of an `http` node. */
export interface HttpOptions extends CredentialOptions, ProxyOptions, ReadingOptions, RedirectOptions {
  /** Begins with `http://`. A user name and password in it are used and never shown. */
  url: string
  /** Cookies to send, `name=value; name=value`. */
  cookie?: string
  /** Id of the secret that holds the cookies. */
  cookieSecret?: string
  /** How the password is told: `any` sends it at once, and answers Digest; `digest` never sends it. Default `any`. */
  authentication?: Authentication
}

/** Options of an `https` node: those of `http`, with a URL that begins with `https://`, and TLS. */
export interface HttpsOptions extends HttpOptions, TlsOptions {}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    http: { open: HttpOptions }
    https: { open: HttpsOptions }
  }
}

/** Schema of {@link HttpOptions}. */
export const httpOptions: OptionSchemas = {
  url: { type: 'string', required: true, strong: true, description: 'URL of the file' },
  ...credentialOptions,
  ...proxyOptions,
  cookie: { type: 'string', strong: true, confidential: true, description: 'Cookies to send' },
  cookieSecret: { type: 'string', strong: true, description: 'Id of the secret that holds the cookies' },
  authentication: {
    type: 'enum',
    values: ['any', 'digest'],
    default: 'any',
    description: 'How the password is told: by Basic at once and by Digest when asked for it, or by Digest only',
  },
  ...readingOptions,
  ...redirectOptions,
}

/** Schema of {@link HttpsOptions}. */
export const httpsOptions: OptionSchemas = { ...httpOptions, ...tlsOptions }

/** The settings that options come to. EINVAL for options that are wrong or do not go together, with QEMU's texts. */
export function checkOptions(protocol: 'http' | 'https', context: OpenContext): HttpSettings {
  const options = context.options as unknown as HttpOptions &
    Required<RedirectOptions & Pick<HttpOptions, 'authentication'>> &
    TlsOptions
  const { cookie, cookieSecret } = options
  const reading = checkReading(context)
  if (cookie !== undefined && cookieSecret !== undefined) {
    throw new BlockError('EINVAL', 'curl driver cannot handle both cookie and cookie secret')
  }
  const address = parseAddress(protocol, options.url)
  return {
    ...reading,
    url: address.url,
    authorizer: authorizerOf(checkCredentials(context, address), options.authentication, context.random),
    cookie: checkCookie(secretText(context, cookieSecret) ?? cookie),
    proxy: checkProxy(context),
    redirect: options.redirect,
    maxRedirects: options.maxRedirects,
    sslverify: options.sslverify ?? true,
    ca: options.ca,
  }
}

function checkCookie(cookie: string | undefined): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a header must not hold
  if (cookie !== undefined && /[\x00-\x1f\x7f]/.test(cookie)) {
    throw new BlockError('EINVAL', 'the cookies contain control characters')
  }
  return cookie
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
