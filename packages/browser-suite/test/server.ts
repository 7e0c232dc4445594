/** Serves the page, and disks by ranges, on loopback. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What the page is told about a disk by its query: `/disk/pattern?etag=x&…`. */
interface Wishes {
  readonly etag: string
  /** Answers with the whole file. */
  readonly whole: boolean
  /** Milliseconds before the answer. */
  readonly delay: number
  /** Allows pages from elsewhere. */
  readonly cors: boolean
  /** But shows them none of the headers. */
  readonly hidden: boolean
  /** Needs this Authorization. */
  readonly authorization: string | null
  /** Asks for an answer by Digest, with this algorithm; any will do. */
  readonly digest: string | null
  readonly redirect: string | null
  /** Fails this many requests of the same URL by ending the connection. */
  readonly failures: number
}

/** See the top of the file. */
export class PageServer {
  /** Scripts of the page by path; a page of its own stands at `/`. */
  files: ReadonlyMap<string, Uint8Array> = new Map()
  readonly #disks: ReadonlyMap<string, Uint8Array>
  readonly #etags = new Map<string, string>()
  readonly #failed = new Map<string, number>()
  readonly #server: Server

  private constructor(disks: ReadonlyMap<string, Uint8Array>) {
    this.#disks = disks
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  static async start(disks: ReadonlyMap<string, Uint8Array>): Promise<PageServer> {
    const server = new PageServer(disks)
    server.#server.listen(0, '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.origin)
    if (url.pathname === '/' && !this.files.has('/')) {
      response.setHeader('content-type', 'text/html')
      response.end('<!doctype html><title>diskgraph</title><script type="module" src="/main.js"></script>')
      return
    }
    const disk = url.pathname.startsWith('/disk/') ? this.#disks.get(url.pathname.slice('/disk/'.length)) : undefined
    if (disk !== undefined) {
      const wishes = wishesOf(url.searchParams)
      setTimeout(() => this.#serveDisk(url, disk, wishes, request, response), wishes.delay)
      return
    }
    const file = this.files.get(url.pathname)
    response.writeHead(file === undefined ? 404 : 200, { 'content-type': typeOf(url.pathname) })
    response.end(file)
  }

  #serveDisk(url: URL, disk: Uint8Array, wishes: Wishes, request: IncomingMessage, response: ServerResponse): void {
    if (wishes.cors) allowOthers(response, wishes.hidden)
    if (request.method === 'OPTIONS') return void response.writeHead(204).end()
    if (request.method === 'PUT') {
      // A page changes the file that the others see.
      this.#etags.set(url.pathname, '"changed"')
      return void response.writeHead(204).end()
    }
    const failed = this.#failed.get(url.href) ?? 0
    if (failed < wishes.failures) {
      this.#failed.set(url.href, failed + 1)
      return void request.socket.destroy()
    }
    if (wishes.redirect !== null) return void response.writeHead(302, { location: wishes.redirect }).end()
    if (wishes.authorization !== null && request.headers.authorization !== wishes.authorization) {
      return void response.writeHead(401).end()
    }
    if (wishes.digest !== null && request.headers.authorization?.startsWith('Digest ') !== true) {
      const challenge = `Digest realm="x", nonce="y", qop="auth", algorithm=${wishes.digest}`
      return void response.writeHead(401, { 'www-authenticate': challenge }).end()
    }
    serveRange(disk, this.#etags.get(url.pathname) ?? wishes.etag, wishes.whole, request, response)
  }
}

function typeOf(path: string): string {
  if (path === '/') return 'text/html'
  return path.endsWith('.css') ? 'text/css' : 'text/javascript'
}

function wishesOf(query: URLSearchParams): Wishes {
  return {
    etag: query.get('etag') ?? '"one"',
    whole: query.has('whole'),
    delay: Number(query.get('delay') ?? 0),
    cors: query.has('cors'),
    hidden: query.has('hidden'),
    authorization: query.get('authorization'),
    digest: query.get('digest'),
    redirect: query.get('redirect'),
    failures: Number(query.get('failures') ?? 0),
  }
}

function allowOthers(response: ServerResponse, hidden: boolean): void {
  response.setHeader('access-control-allow-origin', '*')
  response.setHeader('access-control-allow-headers', 'range, if-range, authorization')
  if (hidden) return
  response.setHeader(
    'access-control-expose-headers',
    'content-range, content-length, content-encoding, etag, www-authenticate',
  )
}

function serveRange(
  disk: Uint8Array,
  etag: string,
  whole: boolean,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
  const condition = request.headers['if-range']
  if (match === null || whole || (condition !== undefined && condition !== etag)) {
    response.writeHead(200, { etag, 'content-length': disk.length }).end(disk)
    return
  }
  const start = Number(match[1])
  const end = Math.min(Number(match[2]) + 1, disk.length)
  if (start >= end) return void response.writeHead(416, { 'content-range': `bytes */${disk.length}` }).end()
  response.writeHead(206, {
    etag,
    'content-range': `bytes ${start}-${end - 1}/${disk.length}`,
    'content-length': end - start,
  })
  response.end(disk.subarray(start, end))
}
