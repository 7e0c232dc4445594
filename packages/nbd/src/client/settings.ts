/** What a client is made with, and what it learns of an export. */
import type { Clock, RandomSource } from '@diskgraph/core/driver'
import type { ByteDuplex } from '../stream/byte-duplex.ts'

/** Makes the client's side of TLS on a connection. */
export interface TlsClient {
  /** The encrypted stream. Rejects when the handshake fails or the server is not who it should be. */
  secure(stream: ByteDuplex): Promise<ByteDuplex>
}

/** How a connection comes to be. */
export interface HandshakeSettings {
  /** Default: the empty name, the server's default export. */
  readonly exportName?: string
  /** With it, nothing is asked or told before TLS stands, and a server without it is refused. */
  readonly tls?: TlsClient
  /** Metadata contexts to select, as many of them as the server has. Default `base:allocation`. */
  readonly contexts?: readonly string[]
}

/** How a client connects and keeps connected. */
export interface NbdClientSettings extends HandshakeSettings {
  /** A new stream to the server, one for each connection. */
  readonly connect: (signal?: AbortSignal) => Promise<ByteDuplex>
  /** Seconds that requests wait for a lost connection to come back; 0: they fail at once. Default 0. */
  readonly reconnectDelay?: number
  /** Seconds to go on trying when the first connection fails; 0: once. Default 0. */
  readonly openTimeout?: number
  /** Milliseconds until a server that was connected to must have answered all questions. Default 30,000. */
  readonly handshakeTimeout?: number
  readonly clock?: Clock
  readonly random?: RandomSource
  readonly signal?: AbortSignal
}

/** What a server tells of an export. */
export interface ExportInfo {
  readonly name: string
  /** In bytes. */
  readonly size: number
  /** Bits of `TransmissionFlag`. */
  readonly flags: number
  readonly description?: string
  /** Offsets and lengths are multiples of this. */
  readonly minimumBlock: number
  readonly preferredBlock: number
  /** Longest read or write, in bytes. */
  readonly maximumPayload: number
  /** The longest that the server takes as it says, if it tells of blocks. */
  readonly statedMaximum?: number
  readonly structured: boolean
  /** Metadata contexts that were selected, by id. */
  readonly contexts: ReadonlyMap<number, string>
}

/** A run of one status. */
export interface StatusRun {
  readonly length: number
  /** What the context means by it; for `base:allocation` bits of `AllocationState`. */
  readonly flags: number
}

/** How the exports of a server are listed. */
export interface ListSettings {
  readonly tls?: TlsClient
  /** Milliseconds that all of it may take. Default 30,000. */
  readonly handshakeTimeout?: number
  readonly clock?: Clock
  readonly signal?: AbortSignal
}
