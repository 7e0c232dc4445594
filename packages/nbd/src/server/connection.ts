/** The life of one client: negotiation under a deadline, transmission, and an end that leaves nothing behind. */
import { type Clock, type ErrorCode, toBlockError } from '@diskgraph/core/driver'
import { type ByteDuplex, endSoon } from '../stream/byte-duplex.ts'
import type { BufferPool } from './buffer-pool.ts'
import type { ExportUser } from './export.ts'
import type { ExportTable } from './export-table.ts'
import type { MemoryBudget } from './memory.ts'
import { type Agreement, Negotiation, type TlsServer } from './negotiation.ts'
import { Transmission } from './transmission.ts'

/** Milliseconds that a client has to take the last replies, and to close its side. */
const partingTime = 1000

/** What a connection needs of its server. */
interface ConnectionSettings {
  readonly exports: ExportTable
  readonly clock: Clock
  readonly memory: MemoryBudget
  readonly buffers: BufferPool
  readonly tls: TlsServer | undefined
  readonly multiConn: boolean
  /** Milliseconds until the client must have chosen an export; 0 for no limit. */
  readonly handshakeTimeout: number
  /** Hears that the client has begun to use an export. */
  readonly onUse: (exported: string) => void
  /** Hears why a client was cut off. */
  readonly log: (message: string) => void
}

/** See the top of the file. */
export class Connection implements ExportUser {
  readonly gone: Promise<void>
  readonly #settings: ConnectionSettings
  readonly #plain: ByteDuplex
  #stream: ByteDuplex
  #transmission: Transmission | undefined
  #dropped = false
  /** The id of the export that the client has chosen. */
  used: string | undefined

  constructor(stream: ByteDuplex, settings: ConnectionSettings) {
    this.#settings = settings
    this.#plain = stream
    this.#stream = stream
    const closed = new Promise<void>((resolve) => {
      stream.on('close', resolve)
      if (stream.destroyed) resolve()
    })
    this.gone = this.#serve(closed)
  }

  drop(): void {
    this.#dropped = true
    this.#transmission?.drop()
    this.#stream.destroy()
    this.#plain.destroy()
  }

  async #serve(closed: Promise<void>): Promise<void> {
    try {
      const agreement = await this.#negotiate()
      if (agreement === undefined) endSoon(this.#stream, this.#settings.clock, partingTime)
      else await this.#transmit(agreement, closed)
    } catch (error) {
      const { code, message } = toBlockError(error)
      if (!this.#dropped && !isDeparture(code)) this.#settings.log(`option negotiation failed: ${message}`)
      this.drop()
    }
    await closed
  }

  async #negotiate(): Promise<Agreement | undefined> {
    const { clock, handshakeTimeout } = this.#settings
    const negotiation = new Negotiation(this.#stream, {
      ...this.#settings,
      onStream: (stream) => {
        this.#stream = stream
        if (this.#dropped) stream.destroy()
      },
    })
    const late = handshakeTimeout > 0 ? clock.timeout(handshakeTimeout, () => this.drop()) : undefined
    try {
      return await negotiation.run()
    } finally {
      late?.()
    }
  }

  async #transmit({ target, structured, contexts, stream, input }: Agreement, closed: Promise<void>): Promise<void> {
    const { clock, memory, buffers, log } = this.#settings
    if (target.shuttingDown || this.#dropped) return this.drop()
    target.users.add(this)
    this.used = target.id
    this.#settings.onUse(target.id)
    try {
      const reason = await new Promise<string | undefined>((onEnd) => {
        const turn = (): Promise<void> => clock.turn()
        this.#transmission = new Transmission({ target, structured, contexts, stream, memory, buffers, turn, onEnd })
        input.pour(this.#transmission.input)
      })
      const transmission = this.#transmission as unknown as Transmission
      if (reason !== undefined && !this.#dropped) log(`Disconnect client, due to: ${reason}`)
      if (stream.destroyed) transmission.drop()
      await transmission.settled()
      endSoon(stream, clock, partingTime, transmission.drained())
      // Before that, the stream may be at work with memory of replies.
      await closed
      transmission.release()
    } finally {
      target.users.delete(this)
    }
  }
}

/** Whether a client that left is all that happened. */
function isDeparture(code: ErrorCode): boolean {
  return code === 'ECONNRESET'
}
