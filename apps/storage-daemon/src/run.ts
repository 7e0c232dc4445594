/** Runs the daemon: takes the options in their order, and ends when it is told to. */
import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { type Duplex, duplexPair, type Readable, type Writable } from 'node:stream'
import { ConsoleServer } from '@diskgraph/console'
import { describeErrorCode, errorCodeOf, Graph } from '@diskgraph/core'
import { DeviceTable } from '@diskgraph/devices'
import { parseKeyValues, toObject, validate } from '@diskgraph/qapi'
import {
  createMonitor,
  type Monitor,
  type NbdServerOptions,
  type SessionSettings,
  System,
  serveClient,
} from '@diskgraph/qmp'
import { addDescriptor } from './add-fd.ts'
import { type Chardev, chardevInfo, countClients, parseChardev, type Serve } from './chardev.ts'
import type { GivenOption } from './command-line.ts'
import { readConfig } from './config.ts'
import { drivers } from './driver-table.ts'
import { parseDrive } from './drives/drive-options.ts'
import { Drives } from './drives/drives.ts'
import { closeGraph, grace, soon } from './ending.ts'
import { messageOf, StartError, shownValue } from './failure.ts'
import { isText, readOptions } from './option-text.ts'
import { jsonLog, type Log, plainLog } from './telemetry/log.ts'

/** Starts what `options` say; resolves when the daemon runs. */
export async function run(given: readonly GivenOption[], program: string): Promise<void> {
  const options = given.flatMap((option) => (option.name === 'config' ? readConfig(option.value) : [option]))
  const logged = options.findLast(({ name }) => name === 'log')
  const log = logged === undefined ? plainLog(program) : await naming(logged, () => jsonLog(program, logged.value))
  const daemon = new Daemon(options, log)
  process.on('SIGTERM', () => daemon.stop())
  process.on('SIGINT', () => daemon.stop())
  process.on('SIGHUP', () => daemon.stop())
  try {
    await daemon.start(options)
    log.info('ready')
  } catch (error) {
    await daemon.end()
    throw error
  }
}

/** Runs `work`, and says of what fails which option it was for. */
async function naming<T>({ name, value, spelled }: GivenOption, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw new StartError(`${spelled ?? `--${name} ${shownValue(value)}`}: ${messageOf(error)}`, error)
  }
}

/** Events that tell of what users do. */
const toldAlways = new Set([
  'JOB_STATUS_CHANGE',
  'BLOCK_JOB_COMPLETED',
  'BLOCK_JOB_ERROR',
  'BLOCK_IO_ERROR',
  'BLOCK_EXPORT_DELETED',
  'QUORUM_REPORT_BAD',
])

class Daemon {
  readonly #graph: Graph
  readonly #system: System
  readonly #monitor: Monitor
  readonly #remote: boolean
  readonly #chardevs = new Map<string, Chardev>()
  /** Those that a monitor uses, with the number of their clients. */
  readonly #connected = new Map<string, number>()
  readonly #closers: (() => Promise<void>)[] = []
  readonly #clients = new AbortController()
  readonly #served = new Set<Promise<void>>()
  readonly #log: Log
  readonly #devices: DeviceTable
  readonly #drives: Drives
  /** Without it a daemon that serves nothing yet would have nothing to wait for. */
  readonly #alive = setInterval(() => undefined, 2 ** 30)
  readonly #begun: Promise<void>
  #begin: () => void = () => undefined
  #pidfile: string | undefined
  #stopping = false

  constructor(options: readonly GivenOption[], log: Log) {
    this.#begun = new Promise((resolve) => {
      this.#begin = resolve
    })
    const has = (name: string): boolean => options.some((one) => one.name === name)
    this.#log = log
    this.#remote = has('allow-tcp')
    this.#graph = new Graph({
      drivers,
      references: has('allow-references') ? 'allow' : 'neighbours',
      onWarning: (message) => log.warn(message),
    })
    this.#graph.onEvent(({ event, nodeName, data }) => {
      const say = toldAlways.has(event) ? log.info : log.debug
      say(event, { ...(nodeName === undefined ? {} : { nodeName }), ...data })
    })
    this.#devices = new DeviceTable(this.#graph)
    this.#drives = new Drives(this.#graph, this.#devices)
    this.#system = new System({
      graph: this.#graph,
      devices: this.#devices,
      quit: () => this.stop(),
      chardevs: () => chardevInfo(this.#chardevs, this.#connected),
      onActivity: (message, members) => {
        // Consoles and the like ask every second.
        const isQuestion = /^(?:query-|qmp_)/.test(String(members.command))
        if (isQuestion) log.debug(message, members)
        else log.info(message, members)
      },
    })
    this.#monitor = createMonitor(this.#system)
  }

  async start(options: readonly GivenOption[]): Promise<void> {
    for (const option of options) await naming(option, () => this.#take(option.name, option.value))
    const pidfile = options.findLast(({ name }) => name === 'pidfile')?.value
    if (pidfile !== undefined) this.#writePidfile(pidfile)
    this.#begin()
    if (process.send !== undefined) {
      process.send('ready')
      leaveTerminal()
    }
  }

  /** Ends the program when everything is on storage, or when its time is over. */
  stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    const force = setTimeout(() => {
      this.#log.error(`ending took longer than ${grace / 1000} s`)
      process.exit(1)
    }, grace)
    force.unref()
    // Whoever asked for the end gets an answer first.
    setImmediate(async () => {
      const failure = await this.end()
      if (failure === undefined) this.#log.info('ended')
      else this.#log.error(failure)
      this.#log.close()
      process.exit(failure === undefined ? 0 : 1)
    })
  }

  /** Lets go of clients and images; what went wrong, if something did. */
  async end(): Promise<string | undefined> {
    // A start that has failed has clients that wait, too.
    this.#begin()
    clearInterval(this.#alive)
    let failure: string | undefined
    const attempt = (end: Promise<unknown>): Promise<unknown> =>
      end.catch((error: unknown) => {
        failure ??= messageOf(error)
      })
    await soon(Promise.all(this.#closers.map((close) => attempt(close()))))
    // Clients hear of the end of jobs and exports.
    await soon(attempt(this.#system.close()))
    this.#clients.abort()
    await soon(Promise.all(this.#served))
    this.#monitor.close()
    await attempt(closeGraph(this.#graph))
    if (this.#pidfile !== undefined) rmSync(this.#pidfile, { force: true })
    return failure
  }

  async #take(name: string, value: string): Promise<void> {
    switch (name) {
      case 'add-fd':
        addDescriptor(this.#system, value)
        return
      case 'blockdev':
        await this.#execute('blockdev-add', value, 'driver')
        return
      case 'object':
        await this.#execute('object-add', value, 'qom-type')
        return
      case 'drive':
        await this.#drives.add(parseDrive(value, { interface: 'none' }))
        return
      case 'metrics':
        await this.#addMetrics(value)
        return
      case 'export':
        await this.#addExport(value)
        return
      case 'nbd-server': {
        const options = validate(this.#monitor.schema, 'NbdServerOptions', readOptions(value), { text: isText(value) })
        await this.#system.nbd.start(options as NbdServerOptions)
        return
      }
      case 'chardev': {
        const chardev = parseChardev(value, { remote: this.#remote })
        if (this.#chardevs.has(chardev.id)) throw new StartError(`Duplicate ID '${chardev.id}' for chardev`)
        this.#chardevs.set(chardev.id, chardev)
        return
      }
      case 'monitor':
        await this.#addMonitor(value)
        return
      case 'console':
        await this.#addConsole(value)
        return
    }
  }

  /** An export of a node, or of the medium of a drive. */
  async #addExport(text: string): Promise<void> {
    const options = readOptions(text, 'type')
    const name = options['node-name']
    const drive =
      typeof name === 'string' && this.#graph.find(name) === undefined ? this.#devices.find(name) : undefined
    if (drive !== undefined && drive.node === undefined) throw new StartError(`drive '${drive.name}' has no medium`)
    const given = drive?.node === undefined ? options : { name: drive.id, ...options, 'node-name': drive.node.name }
    await this.#monitor.execute('block-export-add', given, { text: isText(text) })
  }

  async #execute(command: string, text: string, implied: string): Promise<void> {
    await this.#monitor.execute(command, readOptions(text, implied), { text: isText(text) })
  }

  async #addMonitor(text: string): Promise<void> {
    const given = toObject(parseKeyValues(text, 'chardev'))
    const options = validate(this.#monitor.schema, 'MonitorOptions', given, { text: true }) as MonitorOptions
    if (options.mode === 'readline') throw new StartError('there is no human monitor here: mode=control is for QMP')
    const chardev = this.#chardevs.get(options.chardev)
    if (chardev === undefined) throw new StartError(`chardev "${options.chardev}" not found`)
    if (this.#connected.has(chardev.id)) throw new StartError(`Device '${chardev.id}' is in use`)
    const count = countClients(this.#connected, chardev.id)
    const serve: Serve = (input, output, client) =>
      count(this.#serve(input, output, { ...client, pretty: options.pretty === true }))
    this.#closers.push(await chardev.open(serve))
  }

  async #addConsole(text: string): Promise<void> {
    const port = Number(text)
    if (!/^\d+$/.test(text) || port > 65535) throw new StartError(`'${text}' is no port`)
    const connect = (): Duplex => {
      const [own, page] = duplexPair()
      void this.#serve(own, own, {})
      return page
    }
    const server = await ConsoleServer.start({ port, connect })
    this.#closers.push(() => server.close())
    this.#log.console(server.url)
  }

  async #addMetrics(text: string): Promise<void> {
    const { serveMetrics } = await import('./telemetry/metrics.ts')
    const server = await serveMetrics(this.#system, text, this.#remote)
    this.#closers.push(() => server.close())
    this.#log.info('metrics', { url: server.url })
  }

  /** Clients that come while options are being taken are greeted when all of that is done. */
  #serve(input: Readable, output: Writable, settings: SessionSettings): Promise<void> {
    input.on('error', () => undefined)
    output.on('error', () => undefined)
    const served = this.#begun.then(() => serveClient(this.#monitor, input, output, settings, this.#clients.signal))
    this.#served.add(served)
    return served.finally(() => this.#served.delete(served))
  }

  #writePidfile(path: string): void {
    try {
      writeFileSync(path, `${process.pid}\n`, { mode: 0o600 })
    } catch (cause) {
      const reason = describeErrorCode(errorCodeOf(cause))
      throw new StartError(`cannot create PID file: Could not create '${path}': ${reason}`, cause)
    }
    this.#pidfile = path
  }
}

/** In the background nobody reads errors, and nobody is to wait for the end of them. */
function leaveTerminal(): void {
  closeSync(2)
  // The lowest descriptor that is free is the one that was closed.
  openSync('/dev/null', 'w')
}

interface MonitorOptions {
  readonly chardev: string
  readonly mode?: 'readline' | 'control'
  readonly pretty?: boolean
}
