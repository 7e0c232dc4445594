/** A server for tests: serves one file by ranges, and behaves badly on request. */
import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'

/** Answers a request in place of the server's own way; returns true to let the server go on all the same. */
export type Behaviour = (
  request: http.IncomingMessage,
  response: http.ServerResponse,
  server: TestServer,
) => boolean | undefined | void | Promise<void>

/** What a request asked for, kept for the test to look at. */
export interface SeenRequest {
  readonly url: string
  readonly range: string | undefined
  readonly headers: http.IncomingHttpHeaders
  readonly port: number | undefined
}

/** Bytes that repeat nowhere near. */
export function patternOf(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 8) * 7 + (i >> 16)) & 255)
}

export class TestServer {
  content: Uint8Array
  etag: string | undefined = '"one"'
  lastModified: string | undefined
  behaviour: Behaviour | undefined
  /** Milliseconds before each answer. */
  delay = 0
  readonly seen: SeenRequest[] = []
  connections = 0
  inFlight = 0
  mostInFlight = 0
  readonly #server: http.Server
  readonly #sockets = new Set<Socket>()
  readonly #secure: boolean
  #host = ''

  private constructor(content: Uint8Array, tls: https.ServerOptions | undefined) {
    this.content = content
    this.#secure = tls !== undefined
    const listener: http.RequestListener = (request, response) => void this.#handle(request, response)
    this.#server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener)
    this.#server.keepAliveTimeout = 60_000
    this.#server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
      this.connections++
      this.#sockets.add(socket)
      socket.on('close', () => this.#sockets.delete(socket))
      socket.on('error', () => undefined)
    })
  }

  static async start(
    settings: { content?: Uint8Array; tls?: https.ServerOptions; host?: string; behaviour?: Behaviour } = {},
  ): Promise<TestServer> {
    const server = new TestServer(settings.content ?? patternOf(1_000_000), settings.tls)
    server.behaviour = settings.behaviour
    server.#host = settings.host ?? '127.0.0.1'
    server.#server.listen(0, server.#host)
    await once(server.#server, 'listening')
    return server
  }

  get origin(): string {
    return `${this.#secure ? 'https' : 'http'}://${this.#host}:${this.port}`
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `${this.origin}/disk.img`
  }

  /** Ends all connections that are open now. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    this.#server.close()
    this.cut()
    await once(this.#server, 'close')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Serves the file as a good server does. */
  serve(request: http.IncomingMessage, response: http.ServerResponse): void {
    const { content } = this
    const size = content.length
    const headers: http.OutgoingHttpHeaders = { 'accept-ranges': 'bytes' }
    if (this.etag !== undefined) headers.etag = this.etag
    if (this.lastModified !== undefined) headers['last-modified'] = this.lastModified
    const condition = request.headers['if-range']
    const range = rangeOf(request)
    if (
      range === undefined ||
      (condition !== undefined && condition !== this.etag && condition !== this.lastModified)
    ) {
      response.writeHead(200, { ...headers, 'content-length': size })
      response.end(content)
      return
    }
    if (range.start >= size) {
      response.writeHead(416, { ...headers, 'content-range': `bytes */${size}` }).end()
      return
    }
    const end = Math.min(range.end, size)
    response.writeHead(206, {
      ...headers,
      'content-range': `bytes ${range.start}-${end - 1}/${size}`,
      'content-length': end - range.start,
    })
    response.end(content.subarray(range.start, end))
  }

  async #handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { range } = request.headers
    this.seen.push({ url: request.url ?? '', range, headers: request.headers, port: request.socket.remotePort })
    this.inFlight++
    this.mostInFlight = Math.max(this.mostInFlight, this.inFlight)
    response.on('close', () => this.inFlight--)
    response.on('error', () => undefined)
    if (this.delay > 0) await new Promise((resolve) => setTimeout(resolve, this.delay))
    if (this.behaviour === undefined) this.serve(request, response)
    else if ((await this.behaviour(request, response, this)) === true) this.serve(request, response)
  }
}

/** The range that a request asks for, its end excluded. */
export function rangeOf(request: http.IncomingMessage): { start: number; end: number } | undefined {
  const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
  return match === null ? undefined : { start: Number(match[1]), end: Number(match[2]) + 1 }
}
