/**
 * Who may talk to the console. It speaks QMP, so whoever gets in may open any file of this account. Any page in any
 * browser tab can send requests to a port of this machine, and a name of its own can be made to resolve to it. So:
 *
 *   Host     must be a name of this machine with the port, or a foreign name was bound to it (DNS rebinding)
 *   Origin   of a WebSocket must be the console's own page: browsers send it, and no page can change it
 *   token    a random number of each start, which only who reads the terminal knows; it travels in the fragment of the
 *            address, which browsers send to nobody, and from there in the subprotocol of the WebSocket
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'

/** The subprotocol that a WebSocket must offer beside the token. */
export const subprotocol = 'diskgraph.qmp'

const tokenPrefix = 'diskgraph.token.'

/** Why a request is refused. */
export interface Refusal {
  readonly status: number
  readonly reason: string
}

/** 128 random bits, as text that fits into addresses and headers. */
export function newToken(): string {
  return randomBytes(16).toString('base64url')
}

/** Whether `host`, as the header has it, is this machine's `port`. */
function isOwnHost(host: string | undefined, port: number): boolean {
  if (host === undefined) return false
  return [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`].includes(host.toLowerCase())
}

/** Why the page may not be fetched by `request`; undefined if it may. */
export function refusalOfPage({ headers, method }: IncomingMessage, port: number): Refusal | undefined {
  if (!isOwnHost(headers.host, port)) return { status: 421, reason: 'Misdirected Request' }
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, reason: 'Method Not Allowed' }
  return undefined
}

/** Why `request` may not become a WebSocket; undefined if it may. */
export function refusalOfSocket({ headers, url }: IncomingMessage, port: number, token: string): Refusal | undefined {
  const { host, origin } = headers
  if (!isOwnHost(host, port)) return { status: 421, reason: 'Misdirected Request' }
  if (url !== '/qmp') return { status: 404, reason: 'Not Found' }
  if (origin?.toLowerCase() !== `http://${host?.toLowerCase()}`) return { status: 403, reason: 'Forbidden' }
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim())
  if (!offered.includes(subprotocol)) return { status: 400, reason: 'Bad Request' }
  if (!offered.some((one) => isSame(one, tokenPrefix + token))) return { status: 401, reason: 'Unauthorized' }
  return undefined
}

/** Compares without telling by its time where the texts differ. */
function isSame(offered: string, expected: string): boolean {
  const [a, b] = [Buffer.from(offered), Buffer.from(expected)]
  return a.length === b.length && timingSafeEqual(a, b)
}
