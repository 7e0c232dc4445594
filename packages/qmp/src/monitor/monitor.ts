/** The monitor of a system: its commands, its clients, and the events that reach them. */
import { BlockError, type Graph } from '@diskgraph/core'
import { type Schema, type ValidationSettings, validateArguments } from '@diskgraph/qapi'
import { type Client, ReceivedDescriptors } from '../descriptors.ts'
import { QmpError } from '../errors.ts'
import { EventLimiter } from './event-limiter.ts'
import { Session, type SessionHost, type SessionPeer, type SessionSettings, type Version } from './session.ts'

/** What a monitor is made of. */
interface MonitorSettings {
  readonly graph: Graph
  readonly schema: Schema
  readonly version: Version
  /** What runs each command, which gets validated arguments. */
  readonly handlers: Readonly<Record<string, unknown>>
  /** Hears of each command of a client before it runs. */
  onCommand?(command: string): void
  /** Gets the arguments of a command ready: loads what validation needs, rewrites older forms. */
  prepare(command: string, args: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, unknown>>>
}

/** How a command is executed. */
interface ExecuteSettings extends ValidationSettings {
  /** Who asks for it. Default: the program itself. */
  readonly client?: Client
}

/** The program itself, which hands nothing over. */
const nobody: Client = { takeDescriptor: () => new ReceivedDescriptors().take() }

/** See the top of the file. */
export class Monitor implements SessionHost {
  readonly schema: Schema
  readonly version: Version
  readonly #settings: MonitorSettings
  readonly #handlers: ReadonlyMap<string, (args: never, client: Client) => unknown>
  readonly #sessions = new Set<Session>()
  readonly #events: EventLimiter
  readonly #stopListening: () => void
  #closed = false

  constructor(settings: MonitorSettings) {
    this.#settings = settings
    this.schema = settings.schema
    this.version = settings.version
    this.#handlers = new Map(
      Object.entries(settings.handlers as Readonly<Record<string, (args: never, client: Client) => unknown>>),
    )
    const { graph } = settings
    this.#events = new EventLimiter(graph.clock, (event, time) => {
      for (const session of this.#sessions) session.tell(event, time)
    })
    this.#stopListening = graph.onEvent((event) => this.#events.offer(event))
  }

  /** The names of its commands. */
  get commandNames(): string[] {
    return ['qmp_capabilities', ...this.#handlers.keys()]
  }

  /** Whether `command` may be executed out of band. */
  allowsOutOfBand(command: string): boolean {
    return this.schema.command(command)?.oob === true
  }

  /**
   * Executes a command. CommandNotFound if there is none of that name, EINVAL for wrong arguments, ENODEV when the monitor
   * is closed; what the command says otherwise.
   */
  async execute(
    command: string,
    args: Readonly<Record<string, unknown>>,
    { client = nobody, ...settings }: ExecuteSettings = {},
  ): Promise<unknown> {
    if (this.#closed) throw new BlockError('ENODEV', `cannot execute ${command}: the monitor is closed`)
    const handler = this.#handlers.get(command)
    if (handler === undefined) {
      throw new QmpError('CommandNotFound', `The command ${command} has not been found`)
    }
    if (client !== nobody) this.#settings.onCommand?.(command)
    const prepared = await this.#settings.prepare(command, args)
    return handler(validateArguments(this.schema, command, prepared, settings) as never, client)
  }

  /** Begins a session with a client. ENODEV when the monitor is closed. */
  connect(peer: SessionPeer, settings?: SessionSettings): Session {
    if (this.#closed) throw new BlockError('ENODEV', 'cannot begin a session: the monitor is closed')
    const session = new Session(this, peer, settings)
    this.#sessions.add(session)
    return session
  }

  /** Ends a session. */
  disconnect(session: Session): void {
    session.close()
    this.#sessions.delete(session)
  }

  /** Ends all sessions; events of the graph are no longer heard, and nothing is executed any more. */
  close(): void {
    this.#closed = true
    this.#stopListening()
    this.#events.close()
    for (const session of this.#sessions) this.disconnect(session)
  }
}
