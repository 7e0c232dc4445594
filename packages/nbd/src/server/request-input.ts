/**
 * The incoming side of a connection. What arrives is taken apart in place: a header is read where it lies, and a payload
 * that came with it is handed on as a part of the chunk. When a request may not begin, the stream is paused where it
 * stands, and `proceed` goes on from there.
 */
import type { ByteDuplex } from '../stream/byte-duplex.ts'
import type { ChunkSink } from '../stream/byte-input.ts'
import { u32 } from '../wire/bytes.ts'
import { Command, NBD_REQUEST_MAGIC, requestLength, WireError } from '../wire/protocol.ts'
import type { BufferPool, Slab } from './buffer-pool.ts'
import { payloadRefusal, type Refusal, Request } from './request.ts'

/** Who begins the requests. */
export interface RequestSink {
  /** False: it has to wait for those under way. */
  admit(request: Request): boolean
  begin(request: Request, payload: Uint8Array | undefined): void
  refuse(request: Request, refusal: Refusal): void
  /** Everything that came together has begun. */
  flush(): void
  /** Nothing more comes; `reason` says why, unless the client left in order. */
  end(reason: string | undefined): void
}

/** The payload of a write that is still arriving. */
interface Payload {
  readonly request: Request
  readonly slab: Slab
  readonly buf: Uint8Array
  filled: number
}

/** See the top of the file. */
export class RequestInput implements ChunkSink {
  readonly #stream: ByteDuplex
  readonly #buffers: BufferPool
  readonly #sink: RequestSink
  readonly #header = new Uint8Array(requestLength)
  #headerFilled = 0
  #payload: Payload | undefined
  /** What may not begin yet: a request, and what arrived behind it. */
  #stalled: Request | undefined
  #backlog: Uint8Array[] = []
  #parsing = false
  #stopped = false
  /** Bytes of payloads that came in pieces. */
  received = 0

  constructor(stream: ByteDuplex, buffers: BufferPool, sink: RequestSink) {
    this.#stream = stream
    this.#buffers = buffers
    this.#sink = sink
  }

  /** Whether a payload is still arriving. */
  get isReceiving(): boolean {
    return this.#payload !== undefined
  }

  take(chunk: Uint8Array): void {
    if (this.#stopped) return
    if (this.#stalled !== undefined) this.#backlog.push(chunk)
    else this.#parse(chunk)
  }

  ended(error: Error | undefined): void {
    this.#sink.end(error?.message)
  }

  /** Takes nothing more. */
  stop(): void {
    this.#stopped = true
    if (this.#payload !== undefined) this.#buffers.keep(this.#payload.slab)
    this.#payload = undefined
    this.#stalled = undefined
    this.#backlog = []
  }

  /** Goes on with what had to wait, if that may begin now. */
  proceed(): void {
    const request = this.#stalled
    if (request === undefined || this.#parsing || !this.#sink.admit(request)) return
    this.#stalled = undefined
    const [chunk = noBytes, ...rest] = this.#backlog
    this.#backlog = rest
    this.#parsing = true
    const at = this.#receive(request, chunk, 0)
    this.#parse(chunk.subarray(at))
    while (this.#stalled === undefined && this.#backlog.length > 0) this.#parse(this.#backlog.shift() as Uint8Array)
    if (this.#stalled === undefined && !this.#stopped) this.#stream.resume()
  }

  #parse(chunk: Uint8Array): void {
    this.#parsing = true
    let at = 0
    while (at < chunk.length && !this.#stopped && this.#stalled === undefined) {
      at = this.#payload === undefined ? this.#request(chunk, at) : this.#fill(this.#payload, chunk, at)
    }
    if (this.#stalled !== undefined && at < chunk.length) this.#backlog.unshift(chunk.subarray(at))
    this.#parsing = false
    this.#sink.flush()
  }

  /** Takes a request, or a part of its header, at `at`; the result is where the next thing stands. */
  #request(chunk: Uint8Array, at: number): number {
    let next = at + requestLength
    if (this.#headerFilled === 0 && next <= chunk.length) return this.#judge(chunk, at, chunk, next)
    const count = Math.min(requestLength - this.#headerFilled, chunk.length - at)
    this.#header.set(chunk.subarray(at, at + count), this.#headerFilled)
    this.#headerFilled += count
    next = at + count
    if (this.#headerFilled < requestLength) return next
    this.#headerFilled = 0
    return this.#judge(this.#header, 0, chunk, next)
  }

  /** Looks at the header in `header` at `start`, behind which `chunk` goes on at `next`. */
  #judge(header: Uint8Array, start: number, chunk: Uint8Array, next: number): number {
    const magic = u32(header, start)
    const request = new Request(header, start + 4)
    if (magic !== NBD_REQUEST_MAGIC) {
      const text = `invalid magic (got 0x${magic.toString(16)})`
      this.#sink.refuse(request, { error: WireError.NBD_EINVAL, text, fatal: true })
      return next
    }
    if (request.command === Command.NBD_CMD_DISC) {
      this.#sink.end(undefined)
      return next
    }
    if (this.#sink.admit(request)) return this.#receive(request, chunk, next)
    this.#stalled = request
    this.#stream.pause()
    return next
  }

  /** Begins a request, with its payload if that is there. The result is where the next thing stands. */
  #receive(request: Request, chunk: Uint8Array, at: number): number {
    const { command, length } = request
    const refusal = payloadRefusal(request)
    if (refusal !== undefined || command !== Command.NBD_CMD_WRITE) {
      if (refusal === undefined) this.#sink.begin(request, undefined)
      else this.#sink.refuse(request, refusal)
      return at
    }
    if (chunk.length - at >= length) {
      this.#sink.begin(request, chunk.subarray(at, at + length))
      return at + length
    }
    const slab = this.#buffers.take(length)
    this.#payload = { request, slab, buf: slab.bytes.subarray(0, length), filled: 0 }
    return at
  }

  #fill(payload: Payload, chunk: Uint8Array, at: number): number {
    const { request, slab, buf, filled } = payload
    const count = Math.min(buf.length - filled, chunk.length - at)
    buf.set(chunk.subarray(at, at + count), filled)
    payload.filled += count
    this.received += count
    if (payload.filled === buf.length) {
      this.#payload = undefined
      request.payload = slab
      this.#sink.begin(request, buf)
    }
    return at + count
  }
}

const noBytes = new Uint8Array(0)
