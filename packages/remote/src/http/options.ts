/** Options of TLS, redirects and proxies: types and schemas. */
import type { OpenContext, OptionSchemas } from '@diskgraph/core/driver'
import { environment } from '../reading/environment.ts'
import { secretText } from '../reading/options.ts'
import type { ProxySettings } from './proxy.ts'
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

/** Options of proxies. */
export interface ProxyOptions {
  /** URL of the proxy, `http://…`; empty for none. Default: as `http_proxy`, `https_proxy` and `no_proxy` say. */
  proxy?: string
  /** User name for the proxy. */
  proxyUsername?: string
  /** Id of the secret that holds the password for the proxy. */
  proxyPasswordSecret?: string
}

/** Schema of {@link ProxyOptions}. */
export const proxyOptions: OptionSchemas = {
  proxy: { type: 'string', confidential: true, description: 'URL of a proxy; empty for none' },
  proxyUsername: { type: 'string', description: 'User name for the proxy' },
  proxyPasswordSecret: { type: 'string', description: 'Id of the secret that holds the password for the proxy' },
}

/** The settings that {@link ProxyOptions} come to. */
export function checkProxy(context: OpenContext): ProxySettings {
  const { proxy, proxyUsername, proxyPasswordSecret } = context.options as ProxyOptions
  return {
    url: proxy,
    username: proxyUsername,
    password: secretText(context, proxyPasswordSecret),
    environment: environment(),
  }
}
