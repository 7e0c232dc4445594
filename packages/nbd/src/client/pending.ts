/** A request of a client that waits for its reply. */
import { abortedError, BlockError, describeErrorCode, onAbort } from '@diskgraph/core/driver'
import { u32 } from '../wire/bytes.ts'
import { Command } from '../wire/protocol.ts'
import { protocolError } from './handshake.ts'
import type { StatusRun } from './settings.ts'

/** Pieces of a read that may lie apart from each other before all of it is there. */
const mostPieces = 1024

const commandNames = ['read', 'write', 'disconnect', 'flush', 'trim', 'cache', 'write zeroes', 'block status']

/** What a request asks for. */
export interface RequestWords {
  readonly command: number
  readonly flags: number
  readonly offset: number
  readonly length: number
  /** Takes what is read. */
  readonly buf?: Uint8Array
}

/** See the top of the file. */
export class PendingRequest {
  readonly command: number
  readonly flags: number
  readonly offset: number
  readonly length: number
  readonly buf: Uint8Array
  readonly result: Promise<void>
  cookie = 0
  /** A chunk of a structured reply has come. */
  hasChunks = false
  /** Its payload has not left yet: the buffer may not be given back. */
  unsent = false
  settled = false
  /** Status of the contexts by name. */
  readonly statuses = new Map<string, StatusRun[]>()
  /** Ends of what has come of a read, by turns, in order; empty for none. */
  readonly #pieces: number[] = []
  #covered = 0
  #error: BlockError | undefined
  #resolve: () => void = noop
  #reject: (error: unknown) => void = noop
  #onSent: (() => void) | undefined
  readonly #signal: AbortSignal | undefined
  readonly #leave: () => void

  constructor({ command, flags, offset, length, buf = noBytes }: RequestWords, signal?: AbortSignal) {
    this.command = command
    this.flags = flags
    this.offset = offset
    this.length = length
    this.buf = buf
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#signal = signal
    this.#leave = onAbort(signal, this.#aborted)
  }

  /** The payload has left. */
  sent(): void {
    this.unsent = false
    this.#onSent?.()
  }

  /** Notes that `length` bytes from `offset` on come now, once and inside the request; where they go in `buf`. */
  cover(offset: number, length: number): number {
    const start = offset - this.offset
    if (this.command !== Command.NBD_CMD_READ || start < 0 || start + length > this.length) {
      throw protocolError('Protocol error: server sent chunk exceeding requested region')
    }
    this.#addPiece(start, start + length)
    this.#covered += length
    return start
  }

  /** A hole has come. */
  zero(offset: number, length: number): void {
    if (length === 0) throw protocolError('Protocol error: invalid payload for hole chunk')
    const start = this.cover(offset, length)
    if (!this.settled) this.buf.fill(0, start, start + length)
  }

  /** Takes a chunk of status. */
  status(context: string, bytes: Uint8Array): void {
    if (this.command !== Command.NBD_CMD_BLOCK_STATUS) throw protocolError('Protocol error: status was not asked for')
    if (this.statuses.has(context)) throw protocolError('Protocol error: status of one context came twice')
    const runs: StatusRun[] = []
    let covered = 0
    for (let at = 4; at < bytes.length && covered < this.length; at += 8) {
      const length = u32(bytes, at)
      if (length === 0) throw protocolError('Protocol error: server sent status chunk with zero length')
      // The last run may tell of what lies behind the request.
      runs.push({ length: Math.min(length, this.length - covered), flags: u32(bytes, at + 4) })
      covered += length
    }
    this.statuses.set(context, runs)
  }

  /** The server tells an error; the first one counts. */
  fail(error: BlockError): void {
    this.#error ??= error
  }

  /** The last of its reply has come. */
  finish(): void {
    if (this.#error !== undefined) {
      const { code, message } = this.#error
      const attempt = `the server could not ${commandNames[this.command] ?? 'answer'} ${this.length} bytes at ${this.offset}`
      this.reject(new BlockError(code, `${attempt}: ${message === '' ? describeErrorCode(code) : message}`))
    } else if (this.command === Command.NBD_CMD_READ && this.#covered !== this.length) {
      this.reject(new BlockError('EIO', `the server sent ${this.#covered} of ${this.length} bytes at ${this.offset}`))
    } else if (this.command === Command.NBD_CMD_BLOCK_STATUS && this.statuses.size === 0) {
      this.reject(new BlockError('EIO', 'the server did not tell any status'))
    } else this.#settle(this.#resolve)
  }

  reject(error: unknown): void {
    this.#settle(() => this.#reject(error))
  }

  readonly #aborted = (): void => {
    const error = abortedError(this.#signal as AbortSignal)
    if (this.unsent) this.#onSent = () => this.reject(error)
    else this.reject(error)
  }

  #settle(settle: () => void): void {
    if (this.settled) return
    this.settled = true
    this.#leave()
    settle()
  }

  #addPiece(from: number, to: number): void {
    const pieces = this.#pieces
    let at = pieces.length
    while (at > 0 && (pieces[at - 2] as number) >= to) at -= 2
    if (at > 0 && (pieces[at - 1] as number) > from) throw protocolError('Protocol error: the server sent data twice')
    const joinsLeft = at > 0 && pieces[at - 1] === from
    const joinsRight = at < pieces.length && pieces[at] === to
    if (joinsLeft && joinsRight) pieces.splice(at - 1, 2)
    else if (joinsLeft) pieces[at - 1] = to
    else if (joinsRight) pieces[at] = from
    else if (pieces.length >= 2 * mostPieces)
      throw protocolError('Protocol error: the server sent data in too many pieces')
    else pieces.splice(at, 0, from, to)
  }
}

function noop(): void {}

const noBytes = new Uint8Array(0)
