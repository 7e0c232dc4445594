/**
 * A file on a server, read by ranges.
 *
 * Invariant: all bytes that ever leave this object belong to one version of the file. The first answer fixes the
 * version (size, ETag, date of change); every later request says If-Range and every later answer is compared, down to
 * the range it claims to be. The first answer of another version fails that transfer and all that follow, for good.
 *
 * A transfer that breaks off goes on where it stopped, so a poor connection makes progress. How often it is tried
 * counts from the last progress; how long it may take in all is `timeout`. Waiting (for a connection, for the next
 * byte) has limits of its own.
 *
 * Redirects are followed here, not by the platform, because the rules need each step. The place where they end is
 * remembered; if it refuses one day (signed links expire), the next attempt starts from the node's own URL.
 */
import { BlockError, isBlockError } from '@diskgraph/core/driver'
import type { RemoteSource } from '../reading/image.ts'
import { Interruption } from '../reading/interruption.ts'
import type { Sink } from '../reading/read-ahead.ts'
import { type Cursor, repeat } from '../reading/repetition.ts'
import { Watchdog } from '../reading/watchdog.ts'
import { checkRedirect, redirectTarget } from './redirects.ts'
import { checkReply } from './replies.ts'
import type { HttpSettings } from './settings.ts'
import type { Reply, Transport } from './transport.ts'
import type { Version } from './version.ts'
import { isNearer, type Zone } from './zones.ts'

/** Where requests go, and which addresses they may reach. */
interface Route {
  readonly url: URL
  readonly nearest: Zone
}

/** See the top of the file. */
export class HttpFile implements RemoteSource {
  readonly #settings: HttpSettings
  readonly #transport: Transport
  readonly #start: Route
  #route: Route
  #version: Version | undefined
  #failure: BlockError | undefined

  constructor(settings: HttpSettings, transport: Transport) {
    this.#settings = settings
    this.#transport = transport
    this.#start = { url: settings.url, nearest: 'loopback' }
    this.#route = this.#start
  }

  /** Size in bytes; 0 before the first transfer. */
  get size(): number {
    return this.#version?.size ?? 0
  }

  /** Whether the server tells versions apart: if it does not, only a change of size is noticed. */
  get isVersioned(): boolean {
    return this.#version?.etag !== undefined || this.#version?.lastModified !== undefined
  }

  /** Transfers the start of the file, by which its size is learnt; at least what probing a format looks at. */
  async start(signal: AbortSignal | undefined): Promise<Uint8Array> {
    this.#version = undefined
    this.#failure = undefined
    this.#route = this.#start
    let head = new Uint8Array(0)
    const longest = Math.max(2048, Math.min(this.#settings.readahead, 64 * 1024))
    const keep: Sink = (offset, chunk) => {
      if (head.length === 0) head = new Uint8Array(Math.min(longest, this.size))
      head.set(chunk, offset)
    }
    await this.transfer(0, longest, keep, signal)
    return head
  }

  /** Transfers the bytes from `start` to before `end`, or to the end of the file if the size is not known yet. */
  transfer(start: number, end: number, sink: Sink, signal?: AbortSignal): Promise<void> {
    const cursor: Cursor = { at: start, end, sink }
    return repeat(this.#settings, cursor, (watched) => this.#attempt(cursor, watched), signal)
  }

  close(): void {
    this.#transport.close()
  }

  async #attempt(cursor: Cursor, signal: AbortSignal): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    const watchdog = new Watchdog(this.#settings.clock, signal)
    try {
      const reply = await this.#request(cursor, watchdog)
      watchdog.expect('the server stopped sending', this.#settings.idleTimeout)
      try {
        this.#adopt(checkReply(reply, cursor, this.#version, this.#settings), cursor)
        if (reply.status === 206) await receive(reply, cursor, watchdog)
        else reply.discard()
      } catch (error) {
        reply.discard()
        if (isBlockError(error) && error.code === 'ESTALE') this.#failure = error
        throw error
      }
    } finally {
      watchdog.stop()
    }
  }

  #adopt(version: Version, cursor: Cursor): void {
    this.#version ??= version
    cursor.end = Math.min(cursor.end, version.size)
  }

  /** Sends a request and follows redirects; the reply is the first that is none. */
  async #request(cursor: Cursor, watchdog: Watchdog): Promise<Reply> {
    const { maxRedirects, redirect } = this.#settings
    const first = this.#route
    let route = first
    for (let redirects = 0; ; redirects++) {
      const reply = await this.#send(route, cursor, watchdog)
      if (reply.url.href !== route.url.href) {
        route = { ...route, url: this.#checkFollowed(reply, route) }
      }
      if (!isRedirect(reply.status)) return this.#arrived(reply, first, route)
      reply.discard()
      if (redirects === maxRedirects)
        throw new BlockError('ELOOP', `the server redirects more than ${maxRedirects} times`)
      const url = redirectTarget(route.url, reply.header('location'), redirect)
      const keeps = redirect === 'any-address' || isNearer(reply.zone, route.nearest)
      route = { url, nearest: keeps ? route.nearest : reply.zone }
    }
  }

  /** Where the platform has gone by itself, if that is allowed. */
  #checkFollowed(reply: Reply, route: Route): URL {
    try {
      checkRedirect(route.url, reply.url, this.#settings.redirect)
      return reply.url
    } catch (error) {
      reply.discard()
      throw error
    }
  }

  async #send(route: Route, cursor: Cursor, watchdog: Watchdog): Promise<Reply> {
    const { connectTimeout, idleTimeout, authorizer, cookie } = this.#settings
    const own = route.url.origin === this.#start.url.origin
    const ifRange = this.#version?.ifRange
    const headers: Record<string, string> = { range: `bytes=${cursor.at}-${cursor.end - 1}` }
    if (ifRange !== undefined) headers['if-range'] = ifRange
    if (own && cookie !== undefined) headers.cookie = cookie
    if (own && authorizer !== undefined) Object.assign(headers, await authorizer.headers(route.url, headers))
    watchdog.expect('connecting takes too long', connectTimeout)
    const reply = await this.#transport.send({
      url: route.url,
      nearest: route.nearest,
      headers,
      signal: watchdog.signal,
      connected: () => watchdog.expect('the server does not answer', idleTimeout),
    })
    if (own && reply.status === 401) this.#answerChallenge(reply)
    return reply
  }

  /** Throws an interruption that costs no attempt where the authorizer has an answer. */
  #answerChallenge(reply: Reply): void {
    const challenge = reply.header('www-authenticate') ?? ''
    if (this.#settings.authorizer?.challenged?.(challenge) !== true) return
    reply.discard()
    throw new Interruption(new BlockError('EACCES', 'The requested URL returned error: 401'), { stale: true })
  }

  /** Remembers where `reply` came from, or, if that place refuses, that it is no longer of use. */
  #arrived(reply: Reply, first: Route, last: Route): Reply {
    if (reply.status < 300) this.#route = last
    else if (first !== this.#start && reply.status >= 400 && reply.status < 412) {
      reply.discard()
      this.#route = this.#start
      const error = new BlockError('EIO', `The requested URL returned error: ${reply.status}`)
      throw new Interruption(error, { stale: true })
    }
    return reply
  }
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308
}

/** Moves the body to the sink. Bytes beyond the range are dropped, and the connection with them. */
async function receive(reply: Reply, cursor: Cursor, watchdog: Watchdog): Promise<void> {
  const framed = reply.header('content-length') !== undefined
  for await (const chunk of reply.body) {
    watchdog.moved()
    const wanted = Math.min(chunk.length, cursor.end - cursor.at)
    cursor.sink(cursor.at, chunk.subarray(0, wanted))
    cursor.at += wanted
    // A body with a length ends by itself, and leaves the connection in order; of another the end may never come.
    if (cursor.at === cursor.end && !framed) break
  }
  if (cursor.at < cursor.end) {
    const error = new BlockError('ECONNRESET', `the server ended the body ${cursor.end - cursor.at} bytes too early`)
    throw new Interruption(error)
  }
}
