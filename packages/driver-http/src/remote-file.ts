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
import { BlockError, delay, isBlockError } from '@diskgraph/core/driver'
import { Interruption } from './interruption.ts'
import type { Settings } from './options.ts'
import { checkRedirect, redirectTarget } from './redirects.ts'
import { checkReply } from './replies.ts'
import type { Reply, Transport } from './transport.ts'
import type { Version } from './version.ts'
import { Watchdog } from './watchdog.ts'
import { isNearer, type Zone } from './zones.ts'

/** Receives the bytes of a transfer, in order. The chunk is only valid during the call. */
export type Sink = (offset: number, chunk: Uint8Array) => void

/** Where requests go, and which addresses they may reach. */
interface Route {
  readonly url: URL
  readonly nearest: Zone
}

/** How far a transfer has come. */
interface Cursor {
  at: number
  end: number
  readonly sink: Sink
}

/** Wait before the first repetition; it doubles with each. */
const firstWait = 100
/** Repetitions that cost nothing, because the connection had been closed before it was used. */
const maxStale = 16

/** See the top of the file. */
export class RemoteFile {
  readonly #settings: Settings
  readonly #transport: Transport
  readonly #start: Route
  readonly #headers: Readonly<Record<string, string>>
  #route: Route
  #version: Version | undefined
  #failure: BlockError | undefined

  constructor(settings: Settings, transport: Transport) {
    this.#settings = settings
    this.#transport = transport
    this.#start = { url: settings.address.url, nearest: 'loopback' }
    this.#route = this.#start
    this.#headers = credentialHeaders(settings)
  }

  /** Size in bytes; 0 before the first transfer. */
  get size(): number {
    return this.#version?.size ?? 0
  }

  /** Whether the server tells versions apart: if it does not, only a change of size is noticed. */
  get isVersioned(): boolean {
    return this.#version?.etag !== undefined || this.#version?.lastModified !== undefined
  }

  /** Takes whatever version the server has the next time. */
  forget(): void {
    this.#version = undefined
    this.#failure = undefined
    this.#route = this.#start
  }

  /** Transfers the bytes from `start` to before `end`, or to the end of the file if the size is not known yet. */
  async transfer(start: number, end: number, sink: Sink, signal?: AbortSignal): Promise<void> {
    const watchdog = new Watchdog(this.#settings.clock, signal)
    watchdog.expect('the transfer takes too long', this.#settings.timeout)
    const deadline = this.#settings.clock.now() + this.#settings.timeout
    const cursor: Cursor = { at: start, end, sink }
    let failures = 0
    let stale = 0
    try {
      for (;;) {
        const before = cursor.at
        try {
          return await this.#attempt(cursor, watchdog.signal)
        } catch (error) {
          const interruption = interruptionOf(error, watchdog.signal)
          if (interruption.stale && ++stale <= maxStale) continue
          failures = cursor.at > before ? 1 : failures + 1
          if (failures > this.#settings.retries) throw interruption.error
          const wait = interruption.wait ?? firstWait * 2 ** (failures - 1)
          if (this.#settings.clock.now() + wait >= deadline) throw interruption.error
          await delay(this.#settings.clock, wait, watchdog.signal)
        }
      }
    } finally {
      watchdog.stop()
    }
  }

  async #attempt(cursor: Cursor, signal: AbortSignal): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    const watchdog = new Watchdog(this.#settings.clock, signal)
    try {
      const reply = await this.#request(cursor, watchdog)
      watchdog.expect('the server stopped sending', this.#settings.idleTimeout)
      try {
        this.#adopt(checkReply(reply, cursor, this.#version, this.#settings.clock.wallTime()), cursor)
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

  #send(route: Route, cursor: Cursor, watchdog: Watchdog): Promise<Reply> {
    const { connectTimeout, idleTimeout } = this.#settings
    const own = route.url.origin === this.#start.url.origin
    const ifRange = this.#version?.ifRange
    watchdog.expect('connecting takes too long', connectTimeout)
    return this.#transport.send({
      url: route.url,
      nearest: route.nearest,
      headers: {
        range: `bytes=${cursor.at}-${cursor.end - 1}`,
        ...(ifRange === undefined ? {} : { 'if-range': ifRange }),
        ...(own ? this.#headers : {}),
      },
      signal: watchdog.signal,
      connected: () => watchdog.expect('the server does not answer', idleTimeout),
    })
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

/** A failed attempt that may be repeated; anything else is thrown, and so is the end of the whole transfer. */
function interruptionOf(error: unknown, signal: AbortSignal): Interruption {
  if (signal.aborted) throw signal.reason
  if (error instanceof Interruption) return error
  if (isBlockError(error) && error.code === 'ETIMEDOUT') return new Interruption(error)
  throw error
}

function credentialHeaders({ username, password, cookie }: Settings): Record<string, string> {
  const headers: Record<string, string> = {}
  if (username !== undefined) headers.authorization = `Basic ${base64(`${username}:${password ?? ''}`)}`
  if (cookie !== undefined) headers.cookie = cookie
  return headers
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)))
}
