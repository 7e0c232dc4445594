/** Connections to https servers through a proxy, by CONNECT (RFC 9110, 9.3.6). */
import http from 'node:http'
import https from 'node:https'
import type { Duplex } from 'node:stream'
import { connect } from 'node:tls'
import { BlockError } from '@diskgraph/core/driver'
import { Interruption } from '../reading/interruption.ts'
import { networkError } from '../reading/network-errors.ts'
import type { ProxyServer } from './proxy.ts'

type Oncreate = (error: Error | null, stream: Duplex) => void

/** Makes its connections through a proxy. */
export class TunnelAgent extends https.Agent {
  readonly #proxy: ProxyServer
  readonly #connectTimeout: number

  constructor(options: https.AgentOptions, proxy: ProxyServer, connectTimeout: number) {
    super(options)
    this.#proxy = proxy
    this.#connectTimeout = connectTimeout
  }

  override createConnection(options: http.ClientRequestArgs, oncreate: Oncreate): undefined {
    const { hostname, port, authorization } = this.#proxy
    const host = String(options.host)
    const target = `${host.includes(':') ? `[${host}]` : host}:${options.port}`
    const fail = (error: unknown): void => oncreate(error as Error, undefined as unknown as Duplex)
    const request = http.request({
      method: 'CONNECT',
      host: hostname,
      port,
      path: target,
      headers: { host: target, ...(authorization === undefined ? {} : { 'proxy-authorization': authorization }) },
      timeout: this.#connectTimeout,
    })
    request.on('timeout', () =>
      request.destroy(new BlockError('ETIMEDOUT', 'connecting through the proxy takes too long')),
    )
    request.on('error', (error) => fail(networkError(error, `the proxy ${hostname}:${port}`)))
    request.on('response', (response) => {
      response.destroy()
      fail(refusal(response.statusCode ?? 0, target))
    })
    request.on('connect', (response, socket, head) => {
      socket.setTimeout(0)
      if (response.statusCode === 200 && head.length === 0) {
        oncreate(null, connect({ ...(options as object), socket }))
        return
      }
      socket.destroy()
      fail(refusal(response.statusCode ?? 0, target))
    })
    request.end()
  }
}

function refusal(status: number, target: string): BlockError | Interruption {
  if (status === 407) {
    const hint = 'give proxy-username and proxy-password-secret, or other ones'
    return new BlockError('EACCES', 'the proxy lets nobody through without a user: 407', { hint })
  }
  const error = new BlockError('EIO', `the proxy does not connect to ${target}: ${status}`)
  return status === 502 || status === 503 || status === 504 ? new Interruption(error) : error
}
