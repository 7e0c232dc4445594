/**
 * HTTP by node:http and node:https, with connections that are kept. Not by fetch: undici parses with WebAssembly, and
 * each WebAssembly memory takes 10 GB of address space, which processes under a limit do not have.
 */
import { lookup as dnsLookup } from 'node:dns'
import http from 'node:http'
import https from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { BlockError } from '@diskgraph/core/driver'
import { readCertificates } from '../reading/certificates.ts'
import { networkError } from '../reading/network-errors.ts'
import { type ProxyServer, proxyFor } from './proxy.ts'
import { nearerAddress } from './redirects.ts'
import type { HttpSettings } from './settings.ts'
import { type Exchange, maxHeaderSize, type Reply, type Transport } from './transport.ts'
import { TunnelAgent } from './tunnel.ts'
import { type Zone, zoneOf } from './zones.ts'

type ZoneOf = (address: string) => Zone

/** See the top of the file. `findZone` classifies addresses, for tests that have only loopback ones. */
export class NodeTransport implements Transport {
  readonly #settings: HttpSettings
  readonly #options: https.AgentOptions
  /** By what they connect to: `http:`, `https:`, and the proxies that https goes through. */
  readonly #agents = new Map<string, http.Agent>()
  readonly #findZone: ZoneOf

  constructor(settings: HttpSettings, ca: string | undefined, findZone: ZoneOf = zoneOf) {
    const { connections, sslverify } = settings
    const shared = { keepAlive: true, maxSockets: connections, maxFreeSockets: connections }
    this.#settings = settings
    this.#options = { ...shared, rejectUnauthorized: sslverify, ca }
    this.#findZone = findZone
  }

  async send(exchange: Exchange): Promise<Reply> {
    const { url, nearest } = exchange
    const host = url.hostname.replace(/^\[|\]$/g, '')
    if (isIP(host) !== 0) {
      const refusal = nearerAddress(host, host, this.#findZone(host), nearest)
      if (refusal !== undefined) throw refusal
    }
    const proxy = proxyFor(url, this.#settings.proxy)
    return new Promise((resolve, reject) => {
      const secure = url.protocol === 'https:'
      const by = secure || proxy === undefined ? undefined : throughProxy(url, proxy)
      const own = { accept: '*/*', 'accept-encoding': 'identity', 'user-agent': 'diskgraph' }
      const request = (secure ? https : http).request(url, {
        agent: this.#agent(secure, proxy),
        maxHeaderSize,
        insecureHTTPParser: false,
        ...(proxy === undefined ? { lookup: this.#lookup(nearest) } : {}),
        ...by,
        headers: { ...own, ...exchange.headers, ...by?.headers } as http.OutgoingHttpHeaders,
      })
      // Without an error: the socket may have gone back to the agent, where nobody listens for one.
      const abort = (): void => void request.destroy()
      if (exchange.signal.aborted) abort()
      else exchange.signal.addEventListener('abort', abort)
      watchConnection(request, secure, exchange)
      request.on('close', () => exchange.signal.removeEventListener('abort', abort))
      const place = by === undefined ? url.host : `the proxy ${by.hostname}:${by.port}`
      request.on('error', (error) => reject(translate(error, exchange, request.reusedSocket, place)))
      request.on('response', (response) => resolve(this.#reply(response, exchange, proxy !== undefined)))
      request.end()
    })
  }

  close(): void {
    for (const agent of this.#agents.values()) agent.destroy()
    this.#agents.clear()
  }

  #agent(secure: boolean, proxy: ProxyServer | undefined): http.Agent {
    const key = secure ? `https: ${JSON.stringify(proxy ?? '')}` : 'http:'
    const known = this.#agents.get(key)
    if (known !== undefined) return known
    const agent = this.#makeAgent(secure, proxy)
    this.#agents.set(key, agent)
    return agent
  }

  #makeAgent(secure: boolean, proxy: ProxyServer | undefined): http.Agent {
    if (!secure) return new http.Agent(this.#options)
    if (proxy === undefined) return new https.Agent(this.#options)
    return new TunnelAgent(this.#options, proxy, this.#settings.connectTimeout)
  }

  #reply(response: http.IncomingMessage, exchange: Exchange, proxied: boolean): Reply {
    // An error that arrives while nobody reads the body comes out of the loop over it, later.
    response.on('error', () => undefined)
    // Behind a proxy nobody knows where the server is: the nearer networks are not for it.
    const remoteAddress = proxied ? undefined : response.socket.remoteAddress
    return {
      status: response.statusCode ?? 0,
      url: exchange.url,
      zone: remoteAddress === undefined ? 'public' : this.#findZone(remoteAddress),
      header: (name) => {
        const value = response.headers[name]
        return Array.isArray(value) ? value.join(', ') : value
      },
      filtered: false,
      body: bodyOf(response, exchange),
      discard: () => void response.destroy(),
    }
  }

  /** Name resolution that leaves out addresses which a redirect must not lead to. */
  #lookup(nearest: Zone): LookupFunction {
    return (name, options, callback) => {
      dnsLookup(name, { ...options, all: true }, (error, found) => {
        if (error !== null) return callback(error, [])
        const refusals = found.map(({ address }) => nearerAddress(name, address, this.#findZone(address), nearest))
        const allowed = found.filter((_, i) => refusals[i] === undefined)
        const [first] = allowed
        if (first === undefined) return callback(refusals[0] as unknown as NodeJS.ErrnoException, [])
        if (options.all) callback(null, allowed)
        else callback(null, first.address, first.family)
      })
    }
  }
}

/** Makes the transport of a node. EINVAL when its file of certificates cannot be read. */
export async function nodeTransport(settings: HttpSettings): Promise<Transport> {
  return new NodeTransport(settings, await readCertificates(settings.ca))
}

/** What differs in a request when a proxy of http is asked for it: it takes the whole URL. */
function throughProxy(url: URL, { hostname, port, authorization }: ProxyServer): http.RequestOptions {
  const headers = { host: url.host, ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }) }
  return { hostname, port, path: url.href, headers }
}

function watchConnection(request: http.ClientRequest, secure: boolean, exchange: Exchange): void {
  request.on('socket', (socket) => {
    if (!socket.connecting && (!secure || (socket as TLSSocket).getProtocol() !== null)) exchange.connected()
    else socket.once(secure ? 'secureConnect' : 'connect', () => exchange.connected())
  })
}

async function* bodyOf(response: http.IncomingMessage, exchange: Exchange): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response) yield chunk as Uint8Array
  } catch (error) {
    throw translate(error, exchange, false, exchange.url.host)
  }
}

/** A failure of the platform in the terms of the driver. Errors that come from an abort are the reason of that. */
function translate(error: unknown, { signal }: Exchange, reused: boolean, place: string): unknown {
  if (signal.aborted) return signal.reason
  const { code = '', message } = error as NodeJS.ErrnoException
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new BlockError('EIO', `the server's headers are longer than ${maxHeaderSize} bytes`, { cause: error })
  }
  if (code.startsWith('HPE_')) {
    return new BlockError('EIO', `the server's answer is not valid HTTP: ${message}`, { cause: error })
  }
  return networkError(error, place, reused)
}
