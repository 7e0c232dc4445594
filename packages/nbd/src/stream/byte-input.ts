/**
 * What arrives on a stream, taken in two ways: while both sides negotiate, message by message (`read`), with the stream
 * paused while nobody waits; after that chunk by chunk as it comes (`pour`). A chunk belongs to whoever takes it.
 */
import { BlockError } from '@diskgraph/core/driver'
import type { ByteDuplex } from './byte-duplex.ts'

/** Bytes that may lie here unasked for before the stream is paused. */
const unasked = 65536

/** Takes chunks in the order of their coming. */
export interface ChunkSink {
  take(chunk: Uint8Array): void
  /** Nothing more comes; `error` says why, if the peer did not end it. */
  ended(error: Error | undefined): void
}

interface Waiting {
  readonly buf: Uint8Array
  filled: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** See the top of the file. */
export class ByteInput {
  readonly #stream: ByteDuplex
  readonly #chunks: Uint8Array[] = []
  #buffered = 0
  #waiting: Waiting | undefined
  #sink: ChunkSink | undefined
  #over = false
  #error: Error | undefined

  constructor(stream: ByteDuplex) {
    this.#stream = stream
    stream.on('data', this.#arrived)
    stream.on('end', this.#ended)
    stream.on('close', this.#ended)
    stream.on('error', this.#failed)
  }

  /** Bytes that have arrived and nobody has asked for. */
  get buffered(): number {
    return this.#buffered
  }

  /** The next `length` bytes, in memory of their own. ECONNRESET when the stream ends before. */
  async read(length: number): Promise<Uint8Array> {
    const buf = new Uint8Array(length)
    await this.#fill(buf)
    return buf
  }

  /** Drops the next `length` bytes. */
  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; left -= Math.min(left, unasked)) await this.read(Math.min(left, unasked))
  }

  /** Gives `sink` what lies here and all that comes. */
  pour(sink: ChunkSink): void {
    this.#sink = sink
    for (const chunk of this.#chunks.splice(0)) sink.take(chunk)
    this.#buffered = 0
    if (this.#over) sink.ended(this.#error)
    else this.#stream.resume()
  }

  /** Lets go of the stream, which is paused then; errors of it are still swallowed. */
  detach(): void {
    this.#stream.pause()
    this.#stream.off('data', this.#arrived)
    this.#stream.off('end', this.#ended)
    this.#stream.off('close', this.#ended)
  }

  #fill(buf: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting = { buf, filled: 0, resolve, reject }
      this.#serve()
      if (this.#waiting === undefined) return
      if (this.#over) this.#fail()
      else this.#stream.resume()
    })
  }

  /** Fills what waits from what lies here. */
  #serve(): void {
    const waiting = this.#waiting
    if (waiting === undefined) return
    const { buf } = waiting
    while (waiting.filled < buf.length) {
      const chunk = this.#chunks[0]
      if (chunk === undefined) return
      const count = Math.min(chunk.length, buf.length - waiting.filled)
      buf.set(chunk.subarray(0, count), waiting.filled)
      waiting.filled += count
      this.#buffered -= count
      if (count === chunk.length) this.#chunks.shift()
      else this.#chunks[0] = chunk.subarray(count)
    }
    this.#waiting = undefined
    waiting.resolve()
  }

  readonly #arrived = (chunk: Uint8Array): void => {
    if (this.#sink !== undefined) {
      this.#sink.take(chunk)
      return
    }
    this.#chunks.push(chunk)
    this.#buffered += chunk.length
    this.#serve()
    if (this.#buffered > unasked) this.#stream.pause()
  }

  readonly #ended = (): void => {
    if (this.#over) return
    this.#over = true
    if (this.#sink !== undefined) this.#sink.ended(this.#error)
    else this.#fail()
  }

  readonly #failed = (error: Error): void => {
    this.#error ??= error
    this.#ended()
  }

  #fail(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    const cause = this.#error
    waiting?.reject(new BlockError('ECONNRESET', 'Unexpected end-of-file before all data were read', { cause }))
  }
}
