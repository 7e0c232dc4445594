/** An NBD server: an export table, and clients on any stream of bytes. */
import type { Graph } from '@diskgraph/core'
import { amount, checkSettings, due, type Inspect, inspected, inspection, wholeNumber } from '@diskgraph/core/internal'
import { mustBeGraph, mustBeStream, tls } from '../arguments.ts'
import type { ByteDuplex } from '../stream/byte-duplex.ts'
import { BufferPool } from './buffer-pool.ts'
import { Connection } from './connection.ts'
import { ExportTable } from './export-table.ts'
import { MemoryBudget } from './memory.ts'
import type { TlsServer } from './negotiation.ts'

/** How a server serves. */
export interface NbdServerSettings {
  /** With it, clients get nothing before TLS stands. */
  readonly tls?: TlsServer
  /** Clients at the same time; others wait until one leaves. 0: no limit. Default 100. */
  readonly maxConnections?: number
  /** Clients of one address at the same time. 0: no limit. Default 25. */
  readonly maxPerAddress?: number
  /** Milliseconds until a client must have chosen an export, TLS included; 0: no limit. Default 10,000. */
  readonly handshakeTimeout?: number
  /** Bytes that requests under way may take together. Default 256 MiB. */
  readonly maxMemory?: number
  /**
   * Milliseconds that a client may keep memory without taking replies, or sending the payload it has announced, while
   * others wait for memory; then it is cut off. Default 10,000.
   */
  readonly stallTimeout?: number
  /** Hears why a client was cut off. Default: nobody. */
  readonly onMessage?: (message: string) => void
  /** Hears of clients that begin to use an export, by its id, and that have left. Default: nobody. */
  readonly onClient?: (what: 'came' | 'left', exported: string, address: string | undefined) => void
}

const rules = {
  tls,
  maxConnections: wholeNumber(),
  maxPerAddress: wholeNumber(),
  handshakeTimeout: amount('milliseconds'),
  maxMemory: wholeNumber(),
  stallTimeout: amount('milliseconds', 1),
  onMessage: due.callback,
  onClient: due.callback,
}

/** Clients that wait for their turn; more are turned away, as by a full backlog. */
const longestQueue = 128

/** See the top of the file. */
export class NbdServer {
  /** What clients can ask for. */
  readonly exports: ExportTable
  readonly #graph: Graph
  readonly #settings: NbdServerSettings
  readonly #memory: MemoryBudget
  readonly #buffers = new BufferPool()
  readonly #connections = new Map<Connection, string | undefined>()
  readonly #waiting: { readonly stream: ByteDuplex; readonly address: string | undefined }[] = []
  readonly #closers = new Set<() => Promise<void>>()
  readonly #leaveListeners = new Set<(left: number) => void>()
  #closing: Promise<void> | undefined

  /** EINVAL for settings that are none. */
  constructor(graph: Graph, settings: NbdServerSettings = {}) {
    mustBeGraph('new NbdServer', graph)
    checkSettings('new NbdServer', rules, settings)
    const { maxMemory = 256 * 1024 * 1024, stallTimeout = 10_000 } = settings
    this.exports = new ExportTable(graph)
    this.#graph = graph
    this.#settings = settings
    this.#memory = new MemoryBudget(maxMemory, graph.clock, stallTimeout)
  }

  /** Clients that are connected. */
  get connections(): number {
    return this.#connections.size
  }

  /** Whether it has been closed, or is being closed. */
  get closed(): boolean {
    return this.#closing !== undefined
  }

  /**
   * Serves a client on `stream`, which belongs to the server from now on and must not have been read. `address` names
   * where it comes from, for {@link NbdServerSettings.maxPerAddress}.
   */
  accept(stream: ByteDuplex, address?: string): void {
    mustBeStream('accept', stream)
    stream.on('error', ignore)
    const { maxConnections = 100, maxPerAddress = 25 } = this.#settings
    if (this.#closing !== undefined || this.#waiting.length >= longestQueue) {
      stream.destroy()
      return
    }
    if (address !== undefined && maxPerAddress > 0 && this.#countOf(address) >= maxPerAddress) {
      this.#settings.onMessage?.(`too many connections from ${address}`)
      stream.destroy()
      return
    }
    if (maxConnections > 0 && this.#connections.size >= maxConnections) this.#waiting.push({ stream, address })
    else this.#serve(stream, address)
  }

  /** Calls `listener` when a client that had chosen an export has left, with how many are there; the result ends that. */
  onLeave(listener: (left: number) => void): () => void {
    this.#leaveListeners.add(listener)
    return () => this.#leaveListeners.delete(listener)
  }

  /** Calls `close`, that of a listener, say, when the server is closed: at once, if it is. */
  closeWith(close: () => Promise<void>): void {
    if (this.closed) void close()
    else this.#closers.add(close)
  }

  /** Stops listening, drops all clients, and removes all exports. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** What is worth knowing of the server. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { connections, closed } = this
    const exports = [...this.exports]
    return { exports, connections, waiting: this.#waiting.length, tls: this.#settings.tls !== undefined, closed }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('NbdServer', this, options, inspect)
  }

  async #close(): Promise<void> {
    const closing = [...this.#closers].map((close) => close())
    for (const { stream } of this.#waiting.splice(0)) stream.destroy()
    const connections = [...this.#connections.keys()]
    for (const connection of connections) connection.drop()
    await Promise.all([...closing, ...connections.map(({ gone }) => gone)])
    await this.exports.close()
  }

  #countOf(address: string): number {
    let count = 0
    for (const from of this.#connections.values()) if (from === address) count++
    for (const waiting of this.#waiting) if (waiting.address === address) count++
    return count
  }

  #serve(stream: ByteDuplex, address: string | undefined): void {
    const { tls, handshakeTimeout = 10_000, maxConnections = 100, onMessage, onClient } = this.#settings
    const connection = new Connection(stream, {
      exports: this.exports,
      clock: this.#graph.clock,
      memory: this.#memory,
      buffers: this.#buffers,
      tls,
      multiConn: maxConnections !== 1,
      handshakeTimeout,
      onUse: (exported) => onClient?.('came', exported, address),
      log: (message) => onMessage?.(message),
    })
    this.#connections.set(connection, address)
    void connection.gone.then(() => this.#left(connection))
  }

  #left(connection: Connection): void {
    const address = this.#connections.get(connection)
    this.#connections.delete(connection)
    if (connection.used !== undefined) this.#settings.onClient?.('left', connection.used, address)
    if (this.#closing !== undefined) return
    let next = this.#waiting.shift()
    while (next?.stream.destroyed) next = this.#waiting.shift()
    if (next !== undefined) this.#serve(next.stream, next.address)
    if (connection.used === undefined) return
    for (const listener of this.#leaveListeners) listener(this.#connections.size)
  }
}

function ignore(): void {}
