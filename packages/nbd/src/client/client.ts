/**
 * A client of one export, over one connection at a time. When the connection is lost it connects anew: the requests that
 * were under way, and those that come meanwhile, wait for `reconnectDelay` seconds and are then sent (again); after that
 * they fail, and each later one makes another attempt. What a request did on the lost connection is unknown; doing it
 * twice comes to the same.
 */
import {
  BlockError,
  type Clock,
  delay,
  isBlockError,
  isByteCount,
  isBytes,
  systemClock,
  systemRandom,
  throwIfAborted,
  toBlockError,
} from '@diskgraph/core/driver'
import { amount, checkSettings, due, type Inspect, inspected, inspection, kindOf, rule } from '@diskgraph/core/internal'
import { tls } from '../arguments.ts'
import { Command, CommandFlag, TransmissionFlag } from '../wire/protocol.ts'
import { establish, firstPause, persistently, timerTime } from './attempts.ts'
import { PendingRequest, type RequestWords } from './pending.ts'
import { Session } from './session.ts'
import type { ExportInfo, NbdClientSettings, StatusRun } from './settings.ts'

/** Milliseconds between attempts to connect: the longest wait. */
const longestPause = 16_000
/** Longest range of requests without data, in bytes: what 32 bits count. */
const longestRange = 2 ** 32 - 1

const rules = {
  connect: { ...due.callback, required: true },
  exportName: due.text,
  tls,
  contexts: rule('a list of texts', (value) => Array.isArray(value) && value.every(due.text.check)),
  reconnectDelay: amount('seconds'),
  openTimeout: amount('seconds'),
  handshakeTimeout: amount('milliseconds', 1),
  clock: due.clock,
  random: due.callback,
  signal: due.signal,
}

/** See the top of the file. */
export class NbdClient {
  /** What the server told of the export at first. */
  readonly info: ExportInfo
  readonly #settings: NbdClientSettings
  readonly #clock: Clock
  #session: Session | undefined
  #reconnecting: Promise<void> | undefined
  readonly #abort = new AbortController()
  /** Ends the waits of requests, not the attempts. */
  #letGo = new AbortController()
  #lostAt = 0
  #closed = false

  private constructor(settings: NbdClientSettings, info: ExportInfo) {
    this.#settings = settings
    this.#clock = settings.clock ?? systemClock
    this.info = info
  }

  /**
   * Connects to an export. What `settings.connect` says when there is no connection; ENOENT for an export that is not
   * there, EACCES where TLS is missing or fails, EINVAL for a server that breaks the protocol and for settings that are
   * none, ETIMEDOUT for a server that does not answer.
   */
  static async connect(settings: NbdClientSettings): Promise<NbdClient> {
    checkSettings('NbdClient.connect', rules, settings)
    const clock = settings.clock ?? systemClock
    const established = await persistently(clock, settings, (signal) => establish(settings, clock, signal))
    const client = new NbdClient(settings, established.info)
    client.#session = client.#begin(established)
    return client
  }

  /** In bytes. */
  get size(): number {
    return this.info.size
  }

  /** Whether the server can do what a bit of `TransmissionFlag` stands for. */
  can(flag: number): boolean {
    return (this.info.flags & flag) !== 0
  }

  get readOnly(): boolean {
    return this.can(TransmissionFlag.NBD_FLAG_READ_ONLY)
  }

  /** Fills `buf` from `offset` on. EIO when the connection is lost for longer than requests wait. */
  read(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#run({ command: Command.NBD_CMD_READ, flags: 0, offset, length: lengthOf(buf), buf }, undefined, signal)
  }

  /** Writes `buf`; with `fua` it is on stable storage then. */
  write(offset: number, buf: Uint8Array, fua = false, signal?: AbortSignal): Promise<void> {
    const flags = fua ? CommandFlag.NBD_CMD_FLAG_FUA : 0
    return this.#run({ command: Command.NBD_CMD_WRITE, flags, offset, length: lengthOf(buf) }, buf, signal)
  }

  /** Makes a range read as zeroes; `flags` are bits of `CommandFlag`. ENOTSUP for a fast one that would be slow. */
  writeZeroes(offset: number, length: number, flags = 0, signal?: AbortSignal): Promise<void> {
    return this.#run({ command: Command.NBD_CMD_WRITE_ZEROES, flags, offset, length }, undefined, signal)
  }

  /** Tells that a range is not needed any more. */
  trim(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.#run({ command: Command.NBD_CMD_TRIM, flags: 0, offset, length }, undefined, signal)
  }

  /** Tells that a range will be read soon. */
  cache(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.#run({ command: Command.NBD_CMD_CACHE, flags: 0, offset, length }, undefined, signal)
  }

  /** Puts all that was written on stable storage. */
  flush(signal?: AbortSignal): Promise<void> {
    return this.#run({ command: Command.NBD_CMD_FLUSH, flags: 0, offset: 0, length: 0 }, undefined, signal)
  }

  /**
   * Status from `offset` on by context, of those that were selected. It may end before `length`, and is never empty.
   * With `one`, of each context one run.
   */
  async blockStatus(
    offset: number,
    length: number,
    one = false,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, readonly StatusRun[]>> {
    const flags = one ? CommandFlag.NBD_CMD_FLAG_REQ_ONE : 0
    const words = { command: Command.NBD_CMD_BLOCK_STATUS, flags, offset, length }
    const { statuses } = await this.#send(words, undefined, signal)
    return statuses
  }

  /** Lets requests fail that wait for a connection, and keeps new ones from waiting until the result is called. */
  letGo(): () => void {
    this.#letGo.abort()
    return () => {
      this.#letGo = new AbortController()
    }
  }

  /** Takes leave of the server. Requests under way fail. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#abort.abort(new BlockError('ENODEV', 'the connection is closed'))
    this.#session?.close()
    await this.#reconnecting?.catch(() => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** What is worth knowing of the client. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { name, size } = this.info
    const connected = this.#session !== undefined
    return { exportName: name, size, readOnly: this.readOnly, connected, closed: this.#closed }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('NbdClient', this, options, inspect)
  }

  async #run(words: RequestWords, payload: Uint8Array | undefined, signal: AbortSignal | undefined): Promise<void> {
    await this.#send(words, payload, signal)
  }

  async #send(
    words: RequestWords,
    payload: Uint8Array | undefined,
    signal: AbortSignal | undefined,
  ): Promise<PendingRequest> {
    this.#mustMakeSense(words, payload)
    for (;;) {
      throwIfAborted(signal)
      const session = this.#session ?? (await this.#reconnected(signal))
      const request = new PendingRequest(words, signal)
      session.send(request, payload)
      try {
        await request.result
        return request
      } catch (error) {
        if (!session.isOver || signal?.aborted) throw error
        if (this.#closed || !this.#mayWait()) throw asLoss(error)
      }
    }
  }

  #mustMakeSense(words: RequestWords, payload: Uint8Array | undefined): void {
    const { command, offset, length, buf = payload } = words
    const carriesData = command === Command.NBD_CMD_READ || command === Command.NBD_CMD_WRITE
    if (carriesData && !isBytes(buf)) throw new BlockError('EINVAL', `the buffer is a Uint8Array, not ${kindOf(buf)}`)
    const longest = carriesData ? this.info.maximumPayload : longestRange
    if (isByteCount(offset) && isByteCount(length) && length <= longest) return
    const range = `${String(length)} bytes at ${String(offset)}`
    throw new BlockError('EINVAL', `cannot ask the server for ${range}: a request has 0 to ${longest} bytes`)
  }

  #begin(established: ConstructorParameters<typeof Session>[0]): Session {
    const random = this.#settings.random ?? systemRandom
    const cookieHigh = Math.floor(random() * 2 ** 32)
    // It may be over before it is made: a server may have sent more than its last answer.
    let session: Session | undefined
    session = new Session(established, cookieHigh, () => {
      if (this.#session === session) this.#session = undefined
      this.#lostAt = this.#clock.now()
    })
    return session
  }

  /** Whether requests still wait for the connection to come back. */
  #mayWait(): boolean {
    const { reconnectDelay = 0 } = this.#settings
    return !this.#letGo.signal.aborted && this.#clock.now() - this.#lostAt < reconnectDelay * 1000
  }

  /** The next session; rejects when the request may not wait for it any longer. */
  async #reconnected(signal: AbortSignal | undefined): Promise<Session> {
    if (this.#closed) throw new BlockError('ENODEV', 'the connection is closed')
    this.#reconnecting ??= this.#reconnect().finally(() => {
      this.#reconnecting = undefined
    })
    // Whoever waits hears of its failure; nobody need.
    this.#reconnecting.catch(() => {})
    const { reconnectDelay = 0 } = this.#settings
    const left = this.#lostAt + reconnectDelay * 1000 - this.#clock.now()
    if (left <= 0 || this.#letGo.signal.aborted) throw asLoss(undefined)
    const stop = new AbortController()
    const limits = [stop.signal, this.#letGo.signal, ...(signal === undefined ? [] : [signal])]
    const late = delay(this.#clock, timerTime(left / 1000), AbortSignal.any(limits)).then(
      () => Promise.reject(asLoss(undefined)),
      () => Promise.reject(asLoss(undefined)),
    )
    try {
      await Promise.race([this.#reconnecting, late])
    } finally {
      stop.abort()
      late.catch(() => {})
    }
    throwIfAborted(signal)
    if (this.#session === undefined) throw asLoss(undefined)
    return this.#session
  }

  /** Tries until it succeeds, requests do not wait any more, or the client is closed. */
  async #reconnect(): Promise<void> {
    const { signal } = this.#abort
    for (let pause = firstPause; ; pause = Math.min(pause * 2, longestPause)) {
      try {
        const established = await establish(this.#settings, this.#clock, signal)
        this.#mustBeSame(established.info)
        this.#session = this.#begin(established)
        return
      } catch (error) {
        if (this.#closed || !this.#mayWait()) throw error
        await delay(this.#clock, pause, signal)
      }
    }
  }

  #mustBeSame({ size, flags }: ExportInfo): void {
    const { NBD_FLAG_READ_ONLY } = TransmissionFlag
    if (size < this.info.size) throw new BlockError('EIO', 'the export is smaller than it was')
    if (!this.readOnly && (flags & NBD_FLAG_READ_ONLY) !== 0) throw new BlockError('EIO', 'the export is read-only now')
  }
}

/** Of what a program without types may give; what is no buffer is refused when the request is made. */
function lengthOf(buf: Uint8Array | undefined): number {
  return buf?.length ?? 0
}

/** The error of a request whose connection was lost. */
function asLoss(cause: unknown): BlockError {
  const reason = isBlockError(cause) ? toBlockError(cause).message : 'the connection to the server is lost'
  return new BlockError('EIO', reason, cause === undefined ? {} : { cause })
}
