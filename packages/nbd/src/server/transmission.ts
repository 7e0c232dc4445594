/**
 * The transmission phase of one connection: requests in (`request-input.ts`), replies out (`reply-queue.ts`), as many under
 * way as memory allows.
 *
 * Requests begin in the order of their coming and end as they please. All replies that a chunk of requests brings about at
 * once leave together. When requests or their bytes become too many, no more is taken until an answer has left.
 */
import { BlockError, done, toBlockError } from '@diskgraph/core/driver'
import type { ByteDuplex } from '../stream/byte-duplex.ts'
import { textBytes } from '../wire/bytes.ts'
import { wireErrorOf } from '../wire/errors.ts'
import {
  Command,
  CommandFlag,
  chunkHeaderLength,
  maximumPayload,
  NBD_MAX_STRING_SIZE,
  ReplyType,
  simpleReplyLength,
} from '../wire/protocol.ts'
import {
  dataHeaderLength,
  errorChunkLength,
  putChunkHeader,
  putDataHeader,
  putErrorChunk,
  putSimpleReply,
  putStatusChunk,
  statusChunkLength,
} from '../wire/replies.ts'
import type { BufferPool } from './buffer-pool.ts'
import { cachePiece, failureText, perform } from './commands.ts'
import type { NbdExport } from './export.ts'
import { type MemoryBudget, type MemoryUser, perConnection } from './memory.ts'
import type { MetaContext } from './meta-contexts.ts'
import { mayHaveHoles, putWholeHole, sendHoles } from './read-holes.ts'
import { type ReplyPlace, ReplyQueue } from './reply-queue.ts'
import { type Refusal, type Request, requestRefusal } from './request.ts'
import { RequestInput, type RequestSink } from './request-input.ts'

/** Requests under way at the same time. */
const mostRequests = 128
/** What a request costs besides its data, in bytes. */
const requestCost = 256
/** What a status query costs: its runs. */
const statusCost = 256 * 1024
/** Runs of one context in one reply. */
const mostRuns = 16 * 1024
/** What a transmission is made of. */
interface TransmissionSettings {
  readonly target: NbdExport
  readonly structured: boolean
  readonly contexts: readonly MetaContext[]
  readonly stream: ByteDuplex
  readonly memory: MemoryBudget
  readonly buffers: BufferPool
  /** Resolves when everything that is ready to run has had a turn. */
  readonly turn: () => Promise<void>
  /** Nothing more is taken from the client; `reason` says why, unless it left in order. */
  readonly onEnd: (reason: string | undefined) => void
}

/** See the top of the file. */
export class Transmission implements RequestSink, MemoryUser {
  /** Takes what the client sends. */
  readonly input: RequestInput
  readonly #settings: TransmissionSettings
  readonly #queue: ReplyQueue
  readonly #abort = new AbortController()
  #inFlight = 0
  /** Bytes of the memory budget that are not given back. */
  held = 0
  #flushing = false
  #ended = false
  #released = false
  #idle: (() => void) | undefined

  constructor(settings: TransmissionSettings) {
    this.#settings = settings
    this.#queue = new ReplyQueue(settings.stream, settings.buffers, this.#give)
    this.input = new RequestInput(settings.stream, settings.buffers, this)
    settings.memory.join(this)
  }

  get moved(): number {
    return this.input.received + this.#queue.sent
  }

  get awaitsClient(): boolean {
    return this.input.isReceiving || this.#queue.isLeaving
  }

  proceed(): void {
    this.input.proceed()
  }

  expel(): void {
    this.end('the client takes no replies, or sends no payloads, while others wait for memory')
    this.#abort.abort(new BlockError('ECANCELED', 'the client was disconnected'))
    this.#settings.stream.destroy()
  }

  /** Takes nothing more, and lets requests under way be aborted. */
  drop(): void {
    this.end(undefined)
    this.#abort.abort(new BlockError('ECANCELED', 'the client was disconnected'))
  }

  /** Resolves when no request is under way. */
  settled(): Promise<void> {
    return this.#inFlight === 0 ? done : new Promise((resolve) => (this.#idle = resolve))
  }

  /** Resolves when all replies have left; never, if the client does not take them. */
  drained(): Promise<void> {
    this.flush()
    return new Promise((resolve) => this.#queue.whenEmpty(resolve))
  }

  /** The stream is gone: whatever is held is given back. */
  release(): void {
    const { memory } = this.#settings
    const { held } = this
    this.#released = true
    this.held = 0
    this.#queue.release()
    memory.leave(this)
    memory.give(held)
  }

  /** Lets all replies leave that are ready. */
  flush(): void {
    if (!this.#settings.stream.destroyed) this.#queue.flush()
  }

  end(reason: string | undefined): void {
    if (this.#ended) return
    this.#ended = true
    this.#settings.memory.giveUp(this)
    this.input.stop()
    this.#settings.onEnd(reason)
  }

  /** Takes what a request needs. False: it has to wait. */
  admit(request: Request): boolean {
    const { command, length } = request
    const cost = requestCost + costOf(command, length)
    if (this.#inFlight >= mostRequests || (this.held > 0 && this.held + cost > perConnection)) return false
    if (!this.#settings.memory.take(cost, this)) return false
    request.cost = cost
    this.held += cost
    return true
  }

  begin(request: Request, payload: Uint8Array | undefined): void {
    const { target, structured, contexts } = this.#settings
    const { writable, root } = target
    const refusal = requestRefusal(request, {
      size: root.size,
      writable,
      structured,
      hasContexts: contexts.length > 0,
    })
    if (refusal !== undefined) {
      this.refuse(request, refusal)
      return
    }
    if (request.command === Command.NBD_CMD_READ) this.#read(request)
    else if (request.command === Command.NBD_CMD_BLOCK_STATUS) this.#track(this.#blockStatus(request), request)
    else this.#perform(request, payload)
  }

  #perform(request: Request, payload: Uint8Array | undefined): void {
    const work = perform(this.#settings.target.root, request, payload, this.#abort.signal)
    if (work === done) this.#performed(request)
    else
      this.#track(
        work.then(() => this.#performed(request)),
        request,
      )
  }

  #performed(request: Request): void {
    if (request.payload !== undefined) this.#settings.buffers.keep(request.payload)
    this.#succeed(request)
  }

  /** Reads into the reply. */
  #read(request: Request): void {
    const { structured, target } = this.#settings
    const { offset, length } = request
    if (length === 0) {
      this.#succeedEmpty(request)
      return
    }
    const headerLength = structured ? dataHeaderLength : simpleReplyLength
    const place = this.#queue.place(headerLength + length)
    const start = place.start + headerLength
    const reading = target.root.read(offset, place.slab.bytes.subarray(start, start + length), 0, this.#abort.signal)
    if (reading !== done) {
      this.#queue.lift(place, headerLength + length)
      this.#track(
        reading.then(
          () => this.#answerRead(request, place),
          (error) => {
            this.#queue.abandon(place)
            throw error
          },
        ),
        request,
      )
      return
    }
    if (this.#mayFragment(request) && mayHaveHoles(place.slab.bytes, start, length)) {
      const whole = putWholeHole(place, request)
      if (whole > 0) {
        this.#queue.commit(place, whole, request.cost)
        return
      }
      this.#queue.lift(place, headerLength + length)
      this.#answerRead(request, place)
      return
    }
    this.#putReadHeader(request, place)
    this.#queue.commit(place, headerLength + length, request.cost)
  }

  #mayFragment({ flags }: Request): boolean {
    return this.#settings.structured && (flags & CommandFlag.NBD_CMD_FLAG_DF) === 0
  }

  #putReadHeader(request: Request, { slab, start }: ReplyPlace): void {
    if (this.#settings.structured) putDataHeader(slab.bytes, start, request, request.offset, request.length, true)
    else putSimpleReply(slab.bytes, start, 0, request)
  }

  /** Sends what was read into a place of its own. */
  #answerRead(request: Request, place: ReplyPlace): void {
    const { structured } = this.#settings
    if (this.#settings.stream.destroyed) {
      this.#queue.drop(place)
      this.#give(request.cost)
      return
    }
    if (this.#mayFragment(request) && sendHoles(this.#queue, place, request)) return
    this.#putReadHeader(request, place)
    const headerLength = structured ? dataHeaderLength : simpleReplyLength
    this.#queue.push(place, place.start, place.start + headerLength + request.length, request.cost)
  }

  async #blockStatus(request: Request): Promise<void> {
    const { contexts, target } = this.#settings
    const { offset, length } = request
    const one = (request.flags & CommandFlag.NBD_CMD_FLAG_REQ_ONE) !== 0
    const answers = []
    for (const context of contexts) {
      const runs = await context.status(target.root, offset, length, one ? 1 : mostRuns, this.#abort.signal)
      if (runs.covered === 0) throw new BlockError('EINVAL', 'the disk has become shorter')
      answers.push({ context, runs })
    }
    for (const { context, runs } of answers) {
      const ends = context === contexts[contexts.length - 1]
      const place = this.#queue.place(statusChunkLength(runs.words))
      putStatusChunk(place.slab.bytes, place.start, request, context.id, runs.words, ends)
      this.#queue.commit(place, statusChunkLength(runs.words), ends ? request.cost : 0)
    }
  }

  /** Follows work that does not end at once, and answers when it fails. */
  #track(work: Promise<void>, request: Request): void {
    this.#inFlight++
    work
      .catch((error) => this.#fail(request, toBlockError(error)))
      .then(() => {
        this.#inFlight--
        if (this.#inFlight === 0) this.#idle?.()
        this.#flushSoon()
      })
  }

  /** Lets answers that are ready in the same turn leave together. */
  #flushSoon(): void {
    if (this.#inFlight === 0) {
      this.flush()
      this.proceed()
    } else if (!this.#flushing) {
      this.#flushing = true
      void this.#settings.turn().then(() => {
        this.#flushing = false
        this.flush()
        this.proceed()
      })
    }
  }

  #succeed(request: Request): void {
    const place = this.#queue.place(simpleReplyLength)
    putSimpleReply(place.slab.bytes, place.start, 0, request)
    this.#queue.commit(place, simpleReplyLength, request.cost)
  }

  /** A read of nothing. */
  #succeedEmpty(request: Request): void {
    if (!this.#settings.structured) {
      this.#succeed(request)
      return
    }
    const place = this.#queue.place(chunkHeaderLength)
    putChunkHeader(place.slab.bytes, place.start, ReplyType.NBD_REPLY_TYPE_NONE, request, 0, true)
    this.#queue.commit(place, chunkHeaderLength, request.cost)
  }

  #fail(request: Request, { code, message }: BlockError): void {
    this.refuse(request, { error: wireErrorOf(code), text: failureText(request.command) ?? message })
  }

  refuse(request: Request, { error, text, fatal }: Refusal): void {
    const words = textBytes(text).subarray(0, NBD_MAX_STRING_SIZE)
    const { structured } = this.#settings
    const length = structured ? errorChunkLength(words.length) : simpleReplyLength
    const place = this.#queue.place(length)
    if (structured) putErrorChunk(place.slab.bytes, place.start, request, error, words)
    else putSimpleReply(place.slab.bytes, place.start, error, request)
    this.#queue.commit(place, length, request.cost)
    if (fatal) this.end(text)
  }

  /** Answers have left. */
  readonly #give = (cost: number): void => {
    if (this.#released) return
    this.held -= cost
    this.#settings.memory.give(cost)
    this.proceed()
  }
}

/** What the data of a request, or of its answer, takes. One that is too long is refused. */
function costOf(command: number, length: number): number {
  if (command === Command.NBD_CMD_BLOCK_STATUS) return statusCost
  if (length > maximumPayload) return 0
  switch (command) {
    case Command.NBD_CMD_READ:
    case Command.NBD_CMD_WRITE:
      return length
    case Command.NBD_CMD_CACHE:
      return Math.min(length, cachePiece)
    default:
      return 0
  }
}
