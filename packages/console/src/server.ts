/** The web server of the console: a few files, and a WebSocket that leads to a QMP monitor. */
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { WebSocketServer } from 'ws'
import { newToken, type Refusal, refusalOfPage, refusalOfSocket, subprotocol } from './access.ts'
import { bridge } from './bridge.ts'

/** How a console is served. */
export interface ConsoleSettings {
  /** A new connection to a QMP monitor, which greets as QMP does: one for each page that is open. */
  readonly connect: () => Duplex | Promise<Duplex>
  /** Port of 127.0.0.1; 0 takes a free one. Default 8040. */
  readonly port?: number
  /** Folder of the built page. Default: the one that comes with this package. */
  readonly page?: string
}

/** Pages that may be open at the same time. */
const maxConnections = 16
/** Longest command that a page may send, in bytes. */
const maxCommand = 2 ** 20

const files: Readonly<Record<string, readonly [name: string, type: string]>> = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/console.js': ['console.js', 'text/javascript; charset=utf-8'],
  '/console.js.map': ['console.js.map', 'application/json'],
  '/console.css': ['console.css', 'text/css; charset=utf-8'],
}

const headers = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
}

/** A console that is being served, on the loopback interface only, until it is closed. */
export class ConsoleServer {
  readonly #server: Server
  readonly #sockets: WebSocketServer
  readonly #contents: ReadonlyMap<string, Buffer>
  readonly #token = newToken()
  readonly #connect: ConsoleSettings['connect']

  private constructor(settings: ConsoleSettings, contents: ReadonlyMap<string, Buffer>) {
    this.#connect = settings.connect
    this.#contents = contents
    this.#server = createServer((request, response) => this.#answer(request, response))
    this.#sockets = new WebSocketServer({
      noServer: true,
      maxPayload: maxCommand,
      perMessageDeflate: false,
      handleProtocols: () => subprotocol,
    })
    this.#server.headersTimeout = 10_000
    this.#server.maxConnections = 4 * maxConnections
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
  }

  /** Reads the page and listens. Rejects when the port is taken, or the page is not built. */
  static async start(settings: ConsoleSettings): Promise<ConsoleServer> {
    checkSettings(settings)
    const folder = settings.page ?? fileURLToPath(new URL('./page', import.meta.url))
    const names = Object.values(files).map(([name]) => name)
    const contents = await Promise.all(names.map((name) => readFile(`${folder}/${name}`)))
    const server = new ConsoleServer(settings, new Map(names.map((name, i) => [name, contents[i] as Buffer])))
    await server.#listen(settings.port ?? 8040)
    return server
  }

  /** The port of 127.0.0.1 that it listens on. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** The address to open in a browser. It lets in whoever has it. */
  get url(): string {
    return `http://127.0.0.1:${this.port}/#${this.#token}`
  }

  /** Ends all connections, and resolves when the port is free again. */
  async close(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.terminate()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** By Node's `console.log`: without the secret of its address. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    const { port } = this.#server.listening ? this : { port: 'closed' }
    return `ConsoleServer { port: ${port}, pages: ${this.#sockets.clients.size} }`
  }

  #listen(port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ port, host: '127.0.0.1' }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const [path = ''] = (request.url ?? '').split('?')
    const [name, type] = files[path] ?? []
    const refusal = refusalOfPage(request, this.port) ?? (name === undefined ? notFound : undefined)
    if (refusal !== undefined || name === undefined) {
      const { status, reason } = refusal ?? notFound
      response.writeHead(status, reason, { ...headers, 'Content-Type': 'text/plain' }).end(`${reason}\n`)
      return
    }
    const content = this.#contents.get(name) ?? Buffer.alloc(0)
    response.writeHead(200, { ...headers, 'Content-Type': type, 'Content-Length': content.length })
    response.end(request.method === 'HEAD' ? undefined : content)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    const full =
      this.#sockets.clients.size >= maxConnections ? { status: 503, reason: 'Service Unavailable' } : undefined
    const refusal = refusalOfSocket(request, this.port, this.#token) ?? full
    if (refusal !== undefined) {
      const answer = `HTTP/1.1 ${refusal.status} ${refusal.reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`
      // Whoever keeps its half open would keep the server from closing, and its place from others.
      socket.end(answer, () => socket.destroy())
      return
    }
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => void bridge(webSocket, this.#connect))
  }
}

const names = ['connect', 'port', 'page']

/** What a program without types may hand over. */
function checkSettings(given: unknown): void {
  const { connect, port = 8040, page = '' } = Object(given) as Readonly<Record<string, unknown>>
  const unknown = Object.keys(Object(given)).find((name) => !names.includes(name))
  if (unknown !== undefined) {
    throw new TypeError(`ConsoleServer.start has no option '${unknown}'; its options are ${names.join(', ')}`)
  }
  if (typeof connect !== 'function') {
    throw new TypeError("ConsoleServer.start needs the option 'connect', a function that connects to a QMP monitor")
  }
  const isPort = Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65535
  if (!isPort) throw new TypeError(`the option 'port' of ConsoleServer.start is a port, not ${String(port)}`)
  if (typeof page !== 'string') throw new TypeError("the option 'page' of ConsoleServer.start is the path of a folder")
}

const notFound: Refusal = { status: 404, reason: 'Not Found' }
