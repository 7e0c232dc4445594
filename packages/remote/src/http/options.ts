/** Options of TLS and of redirects: types and schemas. */
import type { OptionSchemas } from '@diskgraph/core/driver'
import type { RedirectRule } from './settings.ts'

/** Options of TLS. */
export interface TlsOptions {
  /** Verify the server's certificate and host name. Default true. */
  sslverify?: boolean
  /** File of certificates (PEM) to trust instead of those that the runtime knows. */
  ca?: string
}

/** Schema of {@link TlsOptions}. */
export const tlsOptions: OptionSchemas = {
  sslverify: {
    type: 'boolean',
    strong: true,
    default: true,
    description: "Verify the server's certificate and host name",
  },
  ca: { type: 'string', description: 'File of certificates (PEM) to trust instead of those that the runtime knows' },
}

/** Options of redirects. */
export interface RedirectOptions {
  /** Which redirects are followed. Default `safe`. */
  redirect?: RedirectRule
  /** How many redirects in a row are followed. Default 5. */
  maxRedirects?: number
}

/** Schema of {@link RedirectOptions}. */
export const redirectOptions: OptionSchemas = {
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
