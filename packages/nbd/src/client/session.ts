/**
 * The client's side of the transmission phase on one connection: requests out, replies to whoever waits for them.
 *
 * A server is not trusted: each reply must belong to a request that waits, data must lie in the request and come once,
 * lengths are judged before anything is taken. What breaks the rules ends the session, and every request with it.
 */
import { BlockError } from '@diskgraph/core/driver'
import type { ByteDuplex } from '../stream/byte-duplex.ts'
import type { ChunkSink } from '../stream/byte-input.ts'
import { bytesText, printable, putU16, putU32, putU64, u16, u32, u64 } from '../wire/bytes.ts'
import { codeOfWireError } from '../wire/errors.ts'
import {
  Command,
  chunkHeaderLength,
  NBD_MAX_STRING_SIZE,
  NBD_REPLY_FLAG_DONE,
  NBD_REPLY_TYPE_IS_ERROR,
  NBD_REQUEST_MAGIC,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
  ReplyType,
  requestLength,
  simpleReplyLength,
} from '../wire/protocol.ts'
import { type Established, protocolError } from './handshake.ts'
import type { PendingRequest } from './pending.ts'
import type { ExportInfo } from './settings.ts'

/** Longest chunk of status: as many runs as the protocol's document allows. */
const longestStatus = 4 + 8 * 2 ** 20

/** What the bytes that come next are: a header, data of the disk, or anything else, which is taken as a whole. */
interface Expected {
  readonly kind: 'header' | 'data' | 'payload'
  readonly buf: Uint8Array
  filled: number
  readonly length: number
  /** The chunk that a payload or data belongs to. */
  readonly chunk?: Chunk
}

/** A chunk whose header has come. */
interface Chunk {
  readonly request: PendingRequest
  readonly type: number
  /** Nothing of the reply follows. */
  readonly last: boolean
  /** Bytes behind the header. */
  readonly length: number
}

function expectHeader(): Expected {
  return { kind: 'header', buf: new Uint8Array(chunkHeaderLength), filled: 0, length: simpleReplyLength }
}

/** See the top of the file. */
export class Session implements ChunkSink {
  readonly info: ExportInfo
  readonly #stream: ByteDuplex
  readonly #onEnd: (error: BlockError) => void
  readonly #cookieHigh: number
  readonly #pending = new Map<number, PendingRequest>()
  #nextCookie = 1
  #corked = false
  #expected = expectHeader()
  #error: BlockError | undefined

  /** `onEnd` hears once why there will be no more replies. */
  constructor({ stream, input, info }: Established, cookieHigh: number, onEnd: (error: BlockError) => void) {
    this.info = info
    this.#stream = stream
    this.#cookieHigh = cookieHigh
    this.#onEnd = onEnd
    input.pour(this)
  }

  get isOver(): boolean {
    return this.#error !== undefined
  }

  /** Sends a request; `payload` and the buffer of `request` are its own until it settles. */
  send(request: PendingRequest, payload?: Uint8Array): void {
    if (this.#error !== undefined) {
      request.reject(this.#error)
      return
    }
    const low = this.#nextCookie
    this.#nextCookie = low === 0xffffffff ? 1 : low + 1
    request.cookie = low
    this.#pending.set(low, request)
    const header = new Uint8Array(requestLength)
    putU32(header, 0, NBD_REQUEST_MAGIC)
    putU16(header, 4, request.flags)
    putU16(header, 6, request.command)
    putU32(header, 8, this.#cookieHigh)
    putU32(header, 12, low)
    putU64(header, 16, request.offset)
    putU32(header, 24, request.length)
    this.#cork()
    if (payload === undefined) {
      this.#stream.write(header)
      return
    }
    request.unsent = true
    this.#stream.write(header)
    this.#stream.write(payload, () => request.sent())
  }

  /** Says farewell, if the server is still there, and ends the session. */
  close(): void {
    if (this.#error !== undefined) return
    const header = new Uint8Array(requestLength)
    putU32(header, 0, NBD_REQUEST_MAGIC)
    putU16(header, 6, Command.NBD_CMD_DISC)
    this.#stream.write(header)
    this.#stream.end()
    this.#finish(new BlockError('ENODEV', 'the connection is closed'))
  }

  /** Cuts the connection. */
  fail(error: BlockError): void {
    if (this.#error !== undefined) return
    this.#stream.destroy()
    this.#finish(error)
  }

  take(chunk: Uint8Array): void {
    try {
      for (let at = 0; at < chunk.length && this.#error === undefined; ) at += this.#takePart(chunk, at)
    } catch (error) {
      this.fail(error as BlockError)
    }
  }

  ended(cause: Error | undefined): void {
    this.fail(new BlockError('EIO', 'the server closed the connection', cause === undefined ? {} : { cause }))
  }

  #finish(error: BlockError): void {
    this.#error = error
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const request of pending) request.reject(error)
    this.#onEnd(error)
  }

  /** Lets the requests of one turn leave together. */
  #cork(): void {
    if (this.#corked) return
    this.#corked = true
    this.#stream.cork()
    queueMicrotask(() => {
      this.#corked = false
      this.#stream.uncork()
    })
  }

  /** Takes what is expected next from `chunk` at `at`; the result is how many bytes that were. */
  #takePart(chunk: Uint8Array, at: number): number {
    const expected = this.#expected
    const count = Math.min(expected.length - expected.filled, chunk.length - at)
    // The memory of a request that was given up is its caller's again.
    if (expected.kind !== 'data' || expected.chunk?.request.settled === false) {
      expected.buf.set(chunk.subarray(at, at + count), expected.filled)
    }
    expected.filled += count
    if (expected.filled === expected.length) this.#complete(expected)
    return count
  }

  #complete({ kind, buf, length, chunk }: Expected): void {
    this.#expected = expectHeader()
    if (chunk === undefined) this.#header(buf, length)
    else if (kind === 'payload') this.#payload(chunk, buf)
    else if (chunk.last) this.#done(chunk.request)
  }

  #header(buf: Uint8Array, length: number): void {
    const magic = u32(buf, 0)
    if (magic === NBD_SIMPLE_REPLY_MAGIC) {
      this.#simple(u32(buf, 4), this.#find(u32(buf, 8), u32(buf, 12)))
      return
    }
    if (magic !== NBD_STRUCTURED_REPLY_MAGIC) throw protocolError(`invalid magic (got 0x${magic.toString(16)})`)
    if (!this.info.structured) {
      throw protocolError('Protocol error: structured reply chunk when only simple replies are allowed')
    }
    if (length < chunkHeaderLength) {
      this.#expected = { kind: 'header', buf, filled: length, length: chunkHeaderLength }
      return
    }
    const last = (u16(buf, 4) & NBD_REPLY_FLAG_DONE) !== 0
    const request = this.#find(u32(buf, 8), u32(buf, 12))
    request.hasChunks = true
    this.#chunk({ request, type: u16(buf, 6), length: u32(buf, 16), last })
  }

  #find(high: number, low: number): PendingRequest {
    const request = high === this.#cookieHigh ? this.#pending.get(low) : undefined
    if (request === undefined) throw protocolError('Unexpected reply: no request has this handle')
    return request
  }

  #simple(error: number, request: PendingRequest): void {
    const { command, offset, length } = request
    const isRead = command === Command.NBD_CMD_READ
    if (this.info.structured && (isRead || command === Command.NBD_CMD_BLOCK_STATUS)) {
      throw protocolError('Protocol error: simple reply when structured reply chunk was expected')
    }
    if (request.hasChunks) throw protocolError('Protocol error: simple reply in the middle of a structured one')
    if (error !== 0) request.fail(new BlockError(codeOfWireError(error), ''))
    else if (isRead && length > 0) {
      this.#expectData({ request, type: ReplyType.NBD_REPLY_TYPE_OFFSET_DATA, last: true, length }, offset, length)
      return
    }
    this.#done(request)
  }

  /** Judges a chunk's header before anything of it is taken. */
  #chunk(chunk: Chunk): void {
    const { request, type, length, last } = chunk
    switch (type) {
      case ReplyType.NBD_REPLY_TYPE_NONE:
        if (!last || length !== 0) throw protocolError('Protocol error: NBD_REPLY_TYPE_NONE chunk is not valid')
        this.#done(request)
        return
      case ReplyType.NBD_REPLY_TYPE_OFFSET_DATA:
        if (length < 9 || length - 8 > request.length) throw chunkError('data')
        this.#expectPayload(chunk, 8)
        return
      case ReplyType.NBD_REPLY_TYPE_OFFSET_HOLE:
        if (length !== 12) throw chunkError('hole')
        break
      case ReplyType.NBD_REPLY_TYPE_BLOCK_STATUS:
        if (length < 12 || length > longestStatus || (length - 4) % 8 !== 0) throw chunkError('block status')
        break
      default:
        if ((type & NBD_REPLY_TYPE_IS_ERROR) === 0) throw protocolError(`Unexpected reply type: 0x${type.toString(16)}`)
        if (length < 6 || length > NBD_MAX_STRING_SIZE + 64) throw chunkError('error')
    }
    this.#expectPayload(chunk, length)
  }

  #expectPayload(chunk: Chunk, length: number): void {
    this.#expected = { kind: 'payload', buf: new Uint8Array(length), filled: 0, length, chunk }
  }

  #expectData(chunk: Chunk, offset: number, length: number): void {
    const { request } = chunk
    const start = request.cover(offset, length)
    this.#expected = { kind: 'data', buf: request.buf.subarray(start, start + length), filled: 0, length, chunk }
  }

  /** What a chunk tells has come; of one with data, where they belong. */
  #payload(chunk: Chunk, bytes: Uint8Array): void {
    const { request, type } = chunk
    if (type === ReplyType.NBD_REPLY_TYPE_OFFSET_DATA) {
      this.#expectData(chunk, u64(bytes, 0), chunk.length - 8)
      return
    }
    if (type === ReplyType.NBD_REPLY_TYPE_OFFSET_HOLE) request.zero(u64(bytes, 0), u32(bytes, 8))
    else if (type === ReplyType.NBD_REPLY_TYPE_BLOCK_STATUS) {
      const name = this.info.contexts.get(u32(bytes, 0))
      if (name === undefined) throw protocolError('Protocol error: status of a context that was not selected')
      request.status(name, bytes)
    } else request.fail(chunkFailure(request, type, bytes))
    if (chunk.last) this.#done(request)
  }

  #done(request: PendingRequest): void {
    this.#pending.delete(request.cookie)
    request.finish()
  }
}

function chunkError(what: string): BlockError {
  return protocolError(`Protocol error: invalid payload for ${what} chunk`)
}

/** The error that an error chunk tells. */
function chunkFailure(request: PendingRequest, type: number, bytes: Uint8Array): BlockError {
  const number = u32(bytes, 0)
  const textLength = u16(bytes, 4)
  const withOffset = type === ReplyType.NBD_REPLY_TYPE_ERROR_OFFSET
  if (number === 0 || textLength > bytes.length - (withOffset ? 14 : 6)) throw chunkError('error')
  if (withOffset) {
    const offset = u64(bytes, 6 + textLength)
    if (offset < request.offset || offset > request.offset + request.length) {
      throw protocolError('Protocol error: the offset of an error lies outside of the request')
    }
  }
  const text = printable(bytesText(bytes.subarray(6, 6 + textLength)), NBD_MAX_STRING_SIZE)
  return new BlockError(codeOfWireError(number), text)
}
