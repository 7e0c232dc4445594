/**
 * HTTP by node:http and node:https, with connections that are kept. Not by fetch: undici parses with WebAssembly, and
 * each WebAssembly memory takes 10 GB of address space, which processes under a limit do not have.
 */
import { lookup as dnsLookup, type LookupAddress, type LookupOptions } from 'node:dns'
import http from 'node:http'
import https from 'node:https'
import { isIP } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { BlockError } from '@diskgraph/core/driver'
import { readCertificates } from '../reading/certificates.ts'
import { networkError } from '../reading/network-errors.ts'
import { nearerAddress } from './redirects.ts'
import type { HttpSettings } from './settings.ts'
import { type Exchange, maxHeaderSize, type Reply, type Transport } from './transport.ts'
import { type Zone, zoneOf } from './zones.ts'

type ZoneOf = (address: string) => Zone

/** See the top of the file. `findZone` classifies addresses, for tests that have only loopback ones. */
export class NodeTransport implements Transport {
  readonly #agents: { readonly 'http:': http.Agent; readonly 'https:': https.Agent }
  readonly #findZone: ZoneOf

  constructor(settings: HttpSettings, ca: string | undefined, findZone: ZoneOf = zoneOf) {
    const shared = { keepAlive: true, maxSockets: settings.connections, maxFreeSockets: settings.connections }
    this.#agents = {
      'http:': new http.Agent(shared),
      'https:': new https.Agent({ ...shared, rejectUnauthorized: settings.sslverify, ca }),
    }
    this.#findZone = findZone
  }

  send(exchange: Exchange): Promise<Reply> {
    const { url, nearest } = exchange
    const host = url.hostname.replace(/^\[|\]$/g, '')
    if (isIP(host) !== 0) {
      const refusal = nearerAddress(host, host, this.#findZone(host), nearest)
      if (refusal !== undefined) return Promise.reject(refusal)
    }
    return new Promise((resolve, reject) => {
      const secure = url.protocol === 'https:'
      const request = (secure ? https : http).request(url, {
        agent: this.#agents[secure ? 'https:' : 'http:'],
        headers: { accept: '*/*', 'accept-encoding': 'identity', 'user-agent': 'diskgraph', ...exchange.headers },
        maxHeaderSize,
        insecureHTTPParser: false,
        lookup: (name, options, callback) => this.#lookup(name, options, callback, nearest),
      })
      // Without an error: the socket may have gone back to the agent, where nobody listens for one.
      const abort = (): void => void request.destroy()
      if (exchange.signal.aborted) abort()
      else exchange.signal.addEventListener('abort', abort)
      watchConnection(request, secure, exchange)
      request.on('close', () => exchange.signal.removeEventListener('abort', abort))
      request.on('error', (error) => reject(translate(error, exchange, request.reusedSocket)))
      request.on('response', (response) => resolve(this.#reply(response, exchange)))
      request.end()
    })
  }

  close(): void {
    this.#agents['http:'].destroy()
    this.#agents['https:'].destroy()
  }

  #reply(response: http.IncomingMessage, exchange: Exchange): Reply {
    // An error that arrives while nobody reads the body comes out of the loop over it, later.
    response.on('error', () => undefined)
    const { remoteAddress } = response.socket
    return {
      status: response.statusCode ?? 0,
      url: exchange.url,
      zone: remoteAddress === undefined ? 'public' : this.#findZone(remoteAddress),
      header: (name) => {
        const value = response.headers[name]
        return Array.isArray(value) ? value.join(', ') : value
      },
      body: bodyOf(response, exchange),
      discard: () => void response.destroy(),
    }
  }

  /** Name resolution that leaves out addresses which a redirect must not lead to. */
  #lookup(name: string, options: LookupOptions, callback: LookupCallback, nearest: Zone): void {
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

type LookupCallback = (error: NodeJS.ErrnoException | null, found: string | LookupAddress[], family?: number) => void

/** Makes the transport of a node. EINVAL when its file of certificates cannot be read. */
export async function nodeTransport(settings: HttpSettings): Promise<Transport> {
  return new NodeTransport(settings, await readCertificates(settings.ca))
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
    throw translate(error, exchange, false)
  }
}

/** A failure of the platform in the terms of the driver. Errors that come from an abort are the reason of that. */
function translate(error: unknown, { url, signal }: Exchange, reused: boolean): unknown {
  if (signal.aborted) return signal.reason
  const { code = '', message } = error as NodeJS.ErrnoException
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new BlockError('EIO', `the server's headers are longer than ${maxHeaderSize} bytes`, { cause: error })
  }
  if (code.startsWith('HPE_')) {
    return new BlockError('EIO', `the server's answer is not valid HTTP: ${message}`, { cause: error })
  }
  return networkError(error, url.host, reused)
}
