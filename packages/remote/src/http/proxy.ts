/** Which proxy a request goes through: that of an option, or as libcurl finds it in the environment. */
import { BlockError, withoutCredentials } from '@diskgraph/core/driver'
import type { Environment } from '../reading/environment.ts'

/** Options of proxies, secrets fetched. */
export interface ProxySettings {
  /** URL of the proxy; empty for none. Undefined: the environment says. */
  readonly url: string | undefined
  /** Instead of those in the URL. */
  readonly username: string | undefined
  readonly password: string | undefined
  readonly environment: Environment
}

/** A proxy. */
export interface ProxyServer {
  readonly hostname: string
  readonly port: number
  /** Value of Proxy-Authorization. */
  readonly authorization: string | undefined
}

/** The proxy for requests to `target`; undefined where they go straight there. EINVAL or ENOTSUP for one that cannot be. */
export function proxyFor(target: URL, settings: ProxySettings): ProxyServer | undefined {
  const text = settings.url ?? fromEnvironment(target, settings.environment)
  if (text === '') return undefined
  const given = parseProxy(text)
  const { url } = given
  const username = settings.username ?? given.username
  const password = settings.password ?? given.password
  const authorization = username === '' ? undefined : `Basic ${base64(`${username}:${password}`)}`
  return { hostname: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) || 80, authorization }
}

function fromEnvironment(target: URL, environment: Environment): string {
  // HTTP_PROXY in capitals is what a web server makes of a header `Proxy` for its scripts: it is not looked at.
  const { http_proxy, https_proxy, HTTPS_PROXY, all_proxy, ALL_PROXY, no_proxy, NO_PROXY } = environment
  const own = target.protocol === 'https:' ? (https_proxy ?? HTTPS_PROXY) : http_proxy
  const found = own ?? all_proxy ?? ALL_PROXY ?? ''
  return found !== '' && isExcepted(target, no_proxy ?? NO_PROXY ?? '') ? '' : found
}

/** Whether a list names the host, a domain that it is in, or everything; with a port only for that one. */
function isExcepted(target: URL, list: string): boolean {
  const host = target.hostname.replace(/^\[|\]$/g, '').toLowerCase()
  const port = target.port || (target.protocol === 'https:' ? '443' : '80')
  return list.split(/[\s,]+/).some((entry) => {
    if (entry === '*') return true
    const [, name = '', wanted = port] = /^\.?\[?(.+?)\]?(?::(\d+))?$/.exec(entry.toLowerCase()) ?? []
    if (name === '' || wanted !== port) return false
    return host === name || host.endsWith(`.${name}`)
  })
}

function parseProxy(text: string): { readonly url: URL; readonly username: string; readonly password: string } {
  const shown = withoutCredentials(text)
  let url: URL
  let [username, password] = ['', '']
  try {
    url = new URL(text.includes('://') ? text : `http://${text}`)
    username = decodeURIComponent(url.username)
    password = decodeURIComponent(url.password)
  } catch {
    // The cause would repeat the credentials.
    throw new BlockError('EINVAL', `the proxy '${shown}' is not a URL`)
  }
  if (url.protocol === 'http:') return { url, username, password }
  throw new BlockError('ENOTSUP', `the proxy '${shown}' is not one of http`, { hint: 'set proxy to an http:// one' })
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)))
}
