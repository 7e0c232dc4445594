/** What the HTTP client is told by a driver. */
import type { ReadingSettings } from '../reading/options.ts'
import type { ProxySettings } from './proxy.ts'

/**
 * - `safe`: not from https to http, not from a public host to a private network, a link-local or a loopback address;
 * - `any-address`: not from https to http;
 * - `same-origin`: only to another path of the same server;
 * - `none`: not at all.
 */
export type RedirectRule = 'safe' | 'any-address' | 'same-origin' | 'none'

/** Hashes of Digest authentication. */
export type DigestHash = 'MD5' | 'SHA-256'

/** Says who asks, in headers of a request to the server of the node. */
export interface Authorizer {
  /** The headers of a request for `url`, which has these ones already, by lower-case names. */
  headers(url: URL, headers: Readonly<Record<string, string>>): Promise<Readonly<Record<string, string>>>
  /** Takes the challenge of a 401; true when the request is worth repeating. */
  challenged?(challenge: string): boolean
}

/** Settings of a file on a web server. */
export interface HttpSettings extends ReadingSettings {
  /** Without credentials. */
  readonly url: URL
  readonly authorizer: Authorizer | undefined
  readonly cookie: string | undefined
  readonly proxy: ProxySettings
  readonly redirect: RedirectRule
  readonly maxRedirects: number
  readonly sslverify: boolean
  /** File of certificates to trust. */
  readonly ca: string | undefined
  /** What to do about 403, where that is known better than in general. */
  readonly refusalHint?: string
}
