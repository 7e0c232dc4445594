/** What the driver needs of a platform to talk HTTP: one request at a time, no cache, no redirects followed blindly. */
import type { HttpSettings } from './settings.ts'
import type { Zone } from './zones.ts'

/** One request: GET, with these headers. */
export interface Exchange {
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** Addresses nearer than this one are refused with EACCES. */
  readonly nearest: Zone
  /** Ends the exchange, its body included; the reason is the error. */
  readonly signal: AbortSignal
  /** To be called when the connection stands; not called where the platform does not tell. */
  connected(): void
}

/** The head of an answer, and its body to come. */
export interface Reply {
  readonly status: number
  /** Where the answer comes from; not the URL asked for when the platform has followed redirects itself. */
  readonly url: URL
  readonly zone: Zone
  /** The value of a header by its lower-case name. */
  header(name: string): string | undefined
  /** The platform shows only those headers that the server allows for pages of another origin. */
  readonly filtered: boolean
  /** Read once, or {@link discard} it. Ending the loop early discards the rest. */
  readonly body: AsyncIterable<Uint8Array>
  /** Gives up the body, and the connection with it. */
  discard(): void
}

/**
 * A platform's HTTP client. It throws `Interruption` for what may go well the next time (a connection that broke),
 * and a BlockError for what will not.
 */
export interface Transport {
  send(exchange: Exchange): Promise<Reply>
  /** Ends idle connections. */
  close(): void
}

/** Makes a transport for one node. ENOTSUP for settings that the platform cannot honour. */
export type MakeTransport = (settings: HttpSettings) => Promise<Transport>

/** Longest head of an answer, in bytes. */
export const maxHeaderSize = 16 * 1024
