/**
 * One client of the monitor: negotiation, commands one after the other, answers and events.
 *
 * Commands in band run in the order in which they came, each after the answer to the one before; those out of band run
 * at once. While as many wait as may wait, nothing more is read: {@link SessionPeer.pause}.
 */
import { BlockError, type BlockEvent } from '@diskgraph/core'
import { type Schema, validateArguments } from '@diskgraph/qapi'
import { type Client, ReceivedDescriptors } from '../descriptors.ts'
import { errorMember, QmpError } from '../errors.ts'
import { JsonStream, qemuLimits } from '../json/parser.ts'
import { jsonText } from '../json/text.ts'
import { eventData, timestamp } from './events.ts'
import { idOf, parseRequest, type Request } from './request.ts'

/** What a session is a client of. */
export interface SessionHost {
  readonly version: Version
  readonly schema: Schema
  allowsOutOfBand(command: string): boolean
  execute(
    command: string,
    args: Readonly<Record<string, unknown>>,
    settings: { readonly client: Client },
  ): Promise<unknown>
}

/** The version that a client is greeted with. */
export interface Version {
  readonly qemu: { readonly major: number; readonly minor: number; readonly micro: number }
  readonly package: string
}

/** The other end of a session. */
export interface SessionPeer {
  send(text: string): void
  /** Nothing more is to be read until {@link resume}. */
  pause(): void
  resume(): void
  /** Ends the connection. */
  close(): void
}

/** How one client is treated. */
export interface SessionSettings {
  /** Answers take several lines. */
  readonly pretty?: boolean
  /** The client may be anybody on the network: what does not begin like QMP ends the connection without an answer. */
  readonly network?: boolean
  /** The client reads on when it sends nothing more. */
  readonly halfOpen?: boolean
}

const mostWaiting = 8
const limitsBefore = { ...qemuLimits, size: 2 ** 20 }

/** See the top of the file. */
export class Session implements Client {
  readonly #monitor: SessionHost
  readonly #peer: SessionPeer
  readonly #pretty: boolean
  readonly #json: JsonStream
  readonly #waiting: { readonly message: unknown; execute(): unknown }[] = []
  readonly #descriptors = new ReceivedDescriptors()
  #expectsBrace: boolean
  #ready = false
  #outOfBand = false
  #busy = false
  #paused = false
  #closed = false
  #working: Promise<void> = Promise.resolve()

  /** Greets the client. */
  constructor(monitor: SessionHost, peer: SessionPeer, settings: SessionSettings = {}) {
    this.#monitor = monitor
    this.#peer = peer
    this.#pretty = settings.pretty === true
    this.#expectsBrace = settings.network === true
    const sink = {
      value: (value: unknown) => this.#receive(value),
      failure: (message: string) => this.#enqueue(undefined, () => Promise.reject(new BlockError('EINVAL', message))),
    }
    this.#json = new JsonStream(sink, limitsBefore)
    this.#send({ QMP: { version: monitor.version, capabilities: ['oob'] } })
  }

  /** Whether events reach the client: it has negotiated. */
  get isReady(): boolean {
    return this.#ready
  }

  /** Takes bytes of the client, and descriptors that came with them, which are the session's then. */
  receive(chunk: Uint8Array, descriptors: readonly number[] = []): void {
    if (descriptors.length > 0) this.#descriptors.replace(descriptors)
    if (this.#closed) {
      this.#descriptors.close()
      return
    }
    if (this.#expectsBrace && !this.#beginsWell(chunk)) return
    this.#json.feed(chunk)
  }

  takeDescriptor(): number {
    return this.#descriptors.take()
  }

  /** Resolves when every command that has come is answered. */
  whenIdle(): Promise<void> {
    return this.#working
  }

  /** The client sends nothing more. */
  end(): void {
    if (!this.#closed) this.#json.end()
  }

  /** Forgets the client: nothing is sent any more. */
  close(): void {
    this.#closed = true
    this.#waiting.length = 0
    this.#descriptors.close()
  }

  /** Tells the client of something that happened, if it has negotiated. */
  tell(event: BlockEvent, milliseconds: number): void {
    if (!this.#ready) return
    const data = eventData(this.#monitor.schema, event)
    this.#send({ timestamp: timestamp(milliseconds), event: event.event, ...(data === undefined ? {} : { data }) })
  }

  /** A browser that is made to talk to a local port begins with the name of a method: it is no client. */
  #beginsWell(chunk: Uint8Array): boolean {
    const first = chunk.find((byte) => byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d)
    if (first === undefined) return true
    this.#expectsBrace = false
    if (first === 0x7b) return true
    this.close()
    this.#peer.close()
    return false
  }

  #receive(message: unknown): void {
    if (this.#closed) return
    let request: Request
    try {
      request = parseRequest(message, this.#outOfBand)
    } catch (error) {
      this.#enqueue(message, () => Promise.reject(error))
      return
    }
    if (request.outOfBand) void this.#execute(message, () => this.#call(request))
    else this.#enqueue(message, () => this.#call(request))
  }

  #enqueue(message: unknown, execute: () => unknown): void {
    if (this.#closed) return
    this.#waiting.push({ message, execute })
    if (!this.#paused && this.#waiting.length >= (this.#outOfBand ? mostWaiting : 1)) {
      this.#paused = true
      this.#peer.pause()
    }
    if (!this.#busy) this.#working = this.#work()
  }

  async #work(): Promise<void> {
    this.#busy = true
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      await this.#execute(next.message, next.execute)
    }
    this.#busy = false
    if (!this.#paused) return
    this.#paused = false
    if (!this.#closed) this.#peer.resume()
  }

  async #execute(message: unknown, execute: () => unknown): Promise<void> {
    try {
      const result = await execute()
      this.#answer(message, { return: result ?? {} })
    } catch (error) {
      this.#answer(message, { error: errorMember(error) })
    }
  }

  #call({ command, args, outOfBand }: Request): unknown {
    if (command === 'qmp_capabilities') return this.#negotiate(args)
    if (!this.#ready) {
      throw new QmpError('CommandNotFound', "Expecting capabilities negotiation with 'qmp_capabilities'")
    }
    if (outOfBand && !this.#monitor.allowsOutOfBand(command)) {
      throw new QmpError('GenericError', `The command ${command} does not support OOB`)
    }
    return this.#monitor.execute(command, args, { client: this })
  }

  #negotiate(args: Readonly<Record<string, unknown>>): void {
    if (this.#ready) {
      throw new QmpError('CommandNotFound', 'Capabilities negotiation is already complete, command ignored')
    }
    const { enable } = validateArguments(this.#monitor.schema, 'qmp_capabilities', args) as { enable?: string[] }
    this.#outOfBand = enable?.includes('oob') === true
    this.#ready = true
    this.#json.limits = qemuLimits
  }

  #answer(message: unknown, answer: { readonly return: unknown } | { readonly error: unknown }): void {
    const id = idOf(message)
    this.#send('error' in answer ? { ...id, ...answer } : { ...answer, ...id })
  }

  #send(message: unknown): void {
    if (!this.#closed) this.#peer.send(`${jsonText(message, this.#pretty)}\r\n`)
  }
}
