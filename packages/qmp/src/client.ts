/** A client for QMP monitors: those of this project and QEMU's, with commands and events typed by the schema. */
import type { Duplex } from 'node:stream'
import { BlockError, type Clock, delay, systemClock, unlessAborted } from '@diskgraph/core/driver'
import { amount, checkSettings, due, type Inspect, inspected, inspection, rule } from '@diskgraph/core/internal'
import type { ArgumentsOf, CommandName, EventData, EventName, ReturnOf } from '@diskgraph/qapi'
import { type ErrorClass, QmpError } from './errors.ts'
import { JsonStream } from './json/parser.ts'
import { jsonText } from './json/text.ts'
import { checkAddress, connectTo, type SocketAddress } from './transport/sockets.ts'

export { type ErrorClass, QmpError } from './errors.ts'
export type { SocketAddress } from './transport/sockets.ts'

/** How a client connects. */
export interface QmpClientSettings {
  /** Where the monitor is, or what makes a connection to it. */
  readonly connect: SocketAddress | (() => Promise<Duplex>)
  /** Milliseconds after which a lost connection is made anew, again and again. Default: it is not. */
  readonly reconnect?: number
  /** Ends the first connecting. */
  readonly signal?: AbortSignal
  readonly clock?: Clock
}

/** How one command is executed. */
export interface ExecuteSettings {
  /** Ends the waiting, not the command. */
  readonly signal?: AbortSignal
  /** Run it at once, whatever else runs. */
  readonly outOfBand?: boolean
}

/** An event as it came. */
export interface QmpEvent {
  readonly event: string
  readonly data: Readonly<Record<string, unknown>>
  /** Milliseconds since the epoch. */
  readonly time: number
}

/** What a monitor greets with. */
export interface Greeting {
  readonly version: ReturnOf<'query-version'>
  readonly capabilities: readonly string[]
}

type Arguments<Name extends CommandName> =
  Record<never, never> extends ArgumentsOf<Name>
    ? [args?: ArgumentsOf<Name>, settings?: ExecuteSettings]
    : [args: ArgumentsOf<Name>, settings?: ExecuteSettings]

interface Pending {
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** A connection that has negotiated. */
interface Link {
  readonly stream: Duplex
  readonly greeting: Greeting
}

const rules = {
  connect: { ...rule('an address, or a function that connects', isThere), required: true },
  reconnect: amount('milliseconds'),
  signal: due.signal,
  clock: due.clock,
}
const executeRules = { signal: due.signal, outOfBand: due.flag }

function isThere(value: unknown): boolean {
  return typeof value === 'function' || (typeof value === 'object' && value !== null)
}

/** A client of a monitor. Close it. */
export class QmpClient {
  readonly #settings: QmpClientSettings
  readonly #clock: Clock
  readonly #pending = new Map<number, Pending>()
  readonly #listeners = new Set<(event: QmpEvent) => void>()
  readonly #closing = new AbortController()
  #link: Promise<Link>
  #greeting: Greeting | undefined
  #lastId = 0

  private constructor(settings: QmpClientSettings) {
    this.#settings = settings
    this.#clock = settings.clock ?? systemClock
    this.#link = this.#connect()
  }

  /** Connects and negotiates. What connecting says when it fails; ECANCELED when the signal is aborted before. */
  static async connect(settings: QmpClientSettings): Promise<QmpClient> {
    checkSettings('QmpClient.connect', rules, settings)
    if (typeof settings.connect !== 'function') checkAddress('QmpClient.connect', settings.connect)
    const client = new QmpClient(settings)
    try {
      await unlessAborted(client.#link, settings.signal)
      return client
    } catch (error) {
      client.close()
      throw error
    }
  }

  /** What the monitor has greeted with. */
  get greeting(): Greeting {
    return this.#greeting as Greeting
  }

  /**
   * Executes a command. A {@link QmpError} for what the monitor refuses, ECONNRESET when the connection is lost before
   * the answer, ECANCELED when the signal is aborted.
   */
  execute<Name extends CommandName>(name: Name, ...[args, settings]: Arguments<Name>): Promise<ReturnOf<Name>> {
    return this.executeUnchecked(name, args ?? {}, settings) as Promise<ReturnOf<Name>>
  }

  /** As {@link execute}, for a command that the schema does not know. */
  async executeUnchecked(name: string, args: object = {}, settings: ExecuteSettings = {}): Promise<unknown> {
    checkSettings(`executing ${name}`, executeRules, settings)
    const { signal, outOfBand } = settings
    const { stream } = await unlessAborted(this.#link, signal)
    const id = ++this.#lastId
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      stream.write(`${jsonText({ [outOfBand ? 'exec-oob' : 'execute']: name, arguments: args, id })}\n`)
    })
    try {
      return await unlessAborted(answer, signal)
    } finally {
      this.#pending.delete(id)
    }
  }

  /** Calls `listener` for each event of that name; the result ends that. */
  on<Name extends EventName>(name: Name, listener: (data: EventData<Name>, event: QmpEvent) => void): () => void {
    return this.onEvent((event) => {
      if (event.event === name) listener(event.data as EventData<Name>, event)
    })
  }

  /** Calls `listener` for each event; the result ends that. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Resolves with the next event of that name for which `fits` is true. Begin to wait before what causes it. Rejects with
   * ECONNRESET when the connection has ended for good.
   */
  next<Name extends EventName>(
    name: Name,
    fits: (data: EventData<Name>) => boolean = () => true,
    signal?: AbortSignal,
  ): Promise<EventData<Name>> {
    let stop: () => void = () => undefined
    const closing = this.#closing.signal
    const event = new Promise<EventData<Name>>((resolve, reject) => {
      const fail = (): void => reject(lost())
      const ignore = this.on(name, (data) => {
        if (fits(data)) resolve(data)
      })
      stop = () => {
        ignore()
        closing.removeEventListener('abort', fail)
      }
      if (closing.aborted) fail()
      else closing.addEventListener('abort', fail)
    })
    return unlessAborted(event, signal).finally(stop)
  }

  /** Ends the connection; what waits for an answer fails with ECONNRESET. */
  close(): void {
    this.#closing.abort()
    this.#link.then(
      ({ stream }) => stream.destroy(),
      () => undefined,
    )
    this.#lose()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** What is worth knowing of it. An address may be a secret. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { qemu, package: name } = this.greeting.version
    const version = `${qemu.major}.${qemu.minor}.${qemu.micro} ${name}`
    return { version, waiting: this.#pending.size, closed: this.#closing.signal.aborted }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('QmpClient', this, options, inspect)
  }

  async #connect(): Promise<Link> {
    const { connect } = this.#settings
    const stream = await (typeof connect === 'function' ? connect() : connectTo(connect))
    try {
      if (this.#closing.signal.aborted) throw lost()
      return await this.#negotiate(stream)
    } catch (error) {
      stream.destroy()
      throw error
    }
  }

  #negotiate(stream: Duplex): Promise<Link> {
    return new Promise((resolve, reject) => {
      let greeting: Greeting | undefined
      let link: Link | undefined
      const receive = (message: unknown): void => {
        if (link !== undefined) {
          this.#receive(message)
        } else if (greeting === undefined) {
          greeting = greetingOf(message)
          if (greeting === undefined) {
            reject(new BlockError('EINVAL', 'this is no QMP monitor: it does not greet'))
            return
          }
          const enable = greeting.capabilities.includes('oob') ? ['oob'] : []
          stream.write(`${jsonText({ execute: 'qmp_capabilities', arguments: { enable } })}\n`)
        } else if (isObject(message) && 'error' in message) reject(errorOf(message.error))
        else if (isObject(message) && 'return' in message) {
          link = { stream, greeting }
          this.#greeting = greeting
          resolve(link)
        }
      }
      const json = new JsonStream({ value: receive, failure: () => stream.destroy() })
      stream.on('data', (chunk: Uint8Array) => json.feed(chunk))
      stream.resume()
      stream.on('error', () => stream.destroy())
      stream.on('close', () => {
        if (link === undefined) reject(lost())
        else this.#left()
      })
    })
  }

  /** A connection that stood is gone. */
  #left(): void {
    this.#lose()
    const { reconnect } = this.#settings
    if (reconnect === undefined || this.#closing.signal.aborted) {
      this.#closing.abort()
      this.#link = Promise.reject(lost())
      this.#link.catch(() => undefined)
    } else this.#link = this.#again(reconnect)
  }

  async #again(milliseconds: number): Promise<Link> {
    for (;;) {
      await delay(this.#clock, milliseconds, this.#closing.signal).catch(() => Promise.reject(lost()))
      try {
        return await this.#connect()
      } catch (error) {
        if (this.#closing.signal.aborted) throw error
      }
    }
  }

  #lose(): void {
    for (const { reject } of this.#pending.values()) reject(lost())
    this.#pending.clear()
  }

  #receive(message: unknown): void {
    if (!isObject(message)) return
    if (typeof message.event === 'string') {
      const { event, data, timestamp } = message as { event: string; data?: QmpEvent['data']; timestamp?: unknown }
      for (const listener of [...this.#listeners]) listener({ event, data: data ?? {}, time: milliseconds(timestamp) })
      return
    }
    const pending = this.#pending.get(message.id as number)
    if (pending === undefined) return
    if ('error' in message) pending.reject(errorOf(message.error))
    else pending.resolve(message.return)
  }
}

function greetingOf(message: unknown): Greeting | undefined {
  if (!isObject(message) || !isObject(message.QMP)) return undefined
  const { version, capabilities } = message.QMP
  return { version: version as Greeting['version'], capabilities: Array.isArray(capabilities) ? capabilities : [] }
}

function milliseconds(timestamp: unknown): number {
  if (!isObject(timestamp)) return 0
  return Number(timestamp.seconds) * 1000 + Number(timestamp.microseconds) / 1000
}

function errorOf(error: unknown): QmpError {
  const { class: errorClass, desc } = isObject(error) ? error : {}
  return new QmpError((errorClass ?? 'GenericError') as ErrorClass, String(desc))
}

function lost(): BlockError {
  return new BlockError('ECONNRESET', 'the connection to the monitor is closed')
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
