/**
 * QEMU's system emulator without a machine: the same graph, monitors and devices, whose guest does nothing. It starts in
 * QEMU's order: objects, nodes, drives, monitors (which greet and then wait), devices; then lines and commands run.
 */
import { rmSync, writeFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import { Graph } from '@diskgraph/core'
import { DeviceTable, RunState } from '@diskgraph/devices'
import { parseKeyValues, toObject } from '@diskgraph/qapi'
import { createMonitor, type Monitor, System, serveClient } from '@diskgraph/qmp'
import { messageOf } from '@diskgraph/tools'
import { addDescriptor } from '../add-fd.ts'
import { type Chardev, chardevInfo, countClients, parseChardev } from '../chardev.ts'
import { drivers } from '../driver-table.ts'
import { parseDrive } from '../drives/drive-options.ts'
import { type Drive, Drives } from '../drives/drives.ts'
import { closeGraph, grace, soon } from '../ending.ts'
import { StartError, shownValue } from '../failure.ts'
import { isText, readOptions } from '../option-text.ts'
import { compatibleVersion } from '../version.ts'
import type { EmulatorOption } from './command-line.ts'
import { parseGlobals } from './device-options.ts'
import { runHuman } from './human/commands.ts'
import { HumanMonitor } from './human/monitor.ts'
import { defaultDrives, type Machine, machineOf } from './machine.ts'
import { MachineClock } from './machine-clock.ts'
import { Models } from './models.ts'
import { optionGroups } from './option-groups.ts'
import { QemuIo } from './qemu-io.ts'
import { answerQtest } from './qtest.ts'

/** See the top of the file. */
export class Emulator {
  readonly #options: readonly EmulatorOption[]
  readonly #program: string
  readonly #clock = new MachineClock()
  readonly #graph: Graph
  readonly #devices: DeviceTable
  readonly #drives: Drives
  readonly #models: Models
  readonly #system: System
  readonly #monitor: Monitor
  readonly #qemuIo: QemuIo
  readonly #chardevs = new Map<string, Chardev>()
  /** Those that a monitor uses, with the number of their clients. */
  readonly #connected = new Map<string, number>()
  readonly #closers: (() => Promise<void> | void)[] = []
  readonly #humans: HumanMonitor[] = []
  readonly #served = new Set<Promise<void>>()
  readonly #clients = new AbortController()
  readonly #machine: Machine
  #start: () => void = () => undefined
  /** Resolves when monitors may run commands. */
  readonly #started = new Promise<void>((resolve) => {
    this.#start = resolve
  })
  #monitors = 0
  #pidfile: string | undefined
  #stopping = false

  constructor(options: readonly EmulatorOption[], program: string) {
    this.#options = options
    this.#program = program
    this.#machine = machineOf(options)
    this.#graph = new Graph({
      drivers,
      clock: this.#clock,
      references: 'allow',
      maxDepth: 2048,
      onWarning: (message) => this.#warn(message),
    })
    this.#devices = new DeviceTable(this.#graph, new RunState(this.#graph, 'prelaunch'))
    this.#drives = new Drives(this.#graph, this.#devices, this.#machine)
    const globals = parseGlobals(options.filter(({ name }) => name === 'global').map(({ value }) => value))
    this.#models = new Models(this.#graph, this.#devices, this.#drives, globals, (node) =>
      this.#system.jobs.cancelOn(node),
    )
    this.#system = new System({
      graph: this.#graph,
      devices: this.#devices,
      quit: () => this.stop(),
      chardevs: () => chardevInfo(this.#chardevs, this.#connected),
    })
    const { objects } = this.#system
    this.#monitor = createMonitor(this.#system, {
      handlers: {
        device_add: (options) => this.#models.add(options),
        device_del: ({ id }) => this.#models.remove(id),
        system_reset: async () => {
          this.#graph.emit({ event: 'RESET', data: { guest: false, reason: 'host-qmp-system-reset' } })
          await this.#models.reset()
        },
        'qom-list': ({ path }) => (this.#models.has(path) ? this.#models.properties(path) : objects.list(path)),
        'qom-get': ({ path, property }) =>
          this.#models.has(path) ? this.#models.get(path, property) : objects.get(path, property),
        'qom-set': ({ path, property, value }) =>
          this.#models.has(path) ? this.#models.set(path, property, value) : objects.set(path, property, value),
        'query-command-line-options': ({ option }) => optionGroups(option),
        'human-monitor-command': ({ 'command-line': line }) => this.#human(line),
      },
    })
    this.#qemuIo = new QemuIo(this.#graph, this.#devices, program, this.#clients.signal)
  }

  /** Starts all that the options say. What fails is named by its option. */
  async start(): Promise<void> {
    await this.#each(['add-fd'], async ({ value }) => addDescriptor(this.#system, value))
    await this.#each(['object'], async ({ value }) => {
      if (!ofMachine.test(value)) await this.#execute('object-add', value, 'qom-type')
    })
    await this.#each(['chardev'], ({ value }) => this.#addChardev(value))
    await this.#each(['blockdev'], ({ value }) => this.#execute('blockdev-add', value, 'driver'))
    const drives = await this.#addDrives()
    await this.#each(['mon', 'monitor', 'qmp', 'qmp-pretty'], (option) => this.#addMonitor(option))
    await this.#each(['qtest'], async ({ value }) => {
      this.#closers.push(await answerQtest(value, this.#clock, (line) => process.stderr.write(`${line}\n`)))
    })
    await this.#addModels([...drives, ...(await this.#addDefaultDrives())])
    await this.#each(['device'], ({ value }) => this.#models.add(readOptions(value, 'driver')))
    const pidfile = this.#options.findLast(({ name }) => name === 'pidfile')?.value
    if (pidfile !== undefined) {
      writeFileSync(pidfile, `${process.pid}\n`, { mode: 0o600 })
      this.#pidfile = pidfile
    }
    if (!this.#has('S')) this.#devices.runState.cont()
    this.#start()
  }

  /** Ends the program when everything is on storage, or when its time is over. */
  stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    for (const human of this.#humans) human.end()
    setTimeout(() => process.exit(1), grace).unref()
    // Whoever asked for the end gets an answer first.
    setImmediate(async () => {
      this.#graph.emit({ event: 'SHUTDOWN', data: { guest: false, reason: 'host-qmp-quit' } })
      const failure = await this.end()
      if (failure !== undefined) process.stderr.write(`${this.#program}: ${failure}\n`)
      process.exit(failure === undefined ? 0 : 1)
    })
  }

  /** Lets go of clients, devices and images; what went wrong, if something did. */
  async end(): Promise<string | undefined> {
    let failure: string | undefined
    const note = (error: unknown): void => {
      failure ??= messageOf(error)
    }
    await soon(this.#system.close().catch(note))
    await closeGraph(this.#graph).catch(note)
    this.#clients.abort()
    await Promise.allSettled([...this.#closers.map((close) => close()), ...this.#served])
    this.#monitor.close()
    if (this.#pidfile !== undefined) rmSync(this.#pidfile, { force: true })
    return failure
  }

  #has(name: string): boolean {
    return this.#options.some((option) => option.name === name)
  }

  async #each(names: readonly string[], take: (option: EmulatorOption) => Promise<void>): Promise<void> {
    for (const option of this.#options) {
      if (!names.includes(option.name)) continue
      try {
        await take(option)
      } catch (error) {
        throw new StartError(`${shownValue(option.spelled)}: ${messageOf(error)}`, error)
      }
    }
  }

  async #addDrives(): Promise<[EmulatorOption, Drive][]> {
    const made: [EmulatorOption, Drive][] = []
    await this.#each(driveNames, async (option) => {
      const { name, value } = option
      const request = parseDrive(shortcut(name, value), { interface: 'ide' })
      const snapshot = request.snapshot || this.#has('snapshot')
      made.push([option, await this.#drives.add({ ...request, snapshot: snapshot && request.node !== undefined })])
    })
    return made
  }

  /** The empty drives that a machine has. None has an option to blame. */
  async #addDefaultDrives(): Promise<[undefined, Drive][]> {
    const made: [undefined, Drive][] = []
    for (const value of defaultDrives(this.#machine, this.#options)) {
      const request = parseDrive(value, { interface: 'ide' })
      if (!this.#drives.isFull(request)) made.push([undefined, await this.#drives.add(request)])
    }
    return made
  }

  /** A machine makes those on its boards by itself, in the order of their units: no option is to blame. */
  async #addModels(drives: readonly (readonly [EmulatorOption | undefined, Drive])[]): Promise<void> {
    const isBuiltIn = ({ request }: Drive): boolean => request.interface !== 'virtio'
    const onBoard = drives.filter(([, drive]) => isBuiltIn(drive)).sort(([, a], [, b]) => a.unit - b.unit)
    for (const [, drive] of onBoard) await this.#models.addForDrive(drive)
    for (const [option, drive] of drives.filter(([, one]) => !isBuiltIn(one))) {
      await this.#models.addForDrive(drive).catch((error) => {
        throw new StartError(`${shownValue(option?.spelled ?? '')}: ${messageOf(error)}`, error)
      })
    }
  }

  async #execute(command: string, text: string, implied: string): Promise<void> {
    await this.#monitor.execute(command, readOptions(text, implied), { text: isText(text) })
  }

  async #addChardev(value: string): Promise<void> {
    const chardev = parseChardev(value, { remote: false, ports: true })
    if (this.#chardevs.has(chardev.id)) throw new StartError(`Duplicate ID '${chardev.id}' for chardev`)
    this.#chardevs.set(chardev.id, chardev)
  }

  async #addMonitor({ name, value }: EmulatorOption): Promise<void> {
    if (value === 'none') return
    if (name === 'mon') {
      const { chardev: id = '', mode = 'readline', pretty } = toObject(parseKeyValues(value, 'chardev'))
      const chardev = this.#chardevs.get(id)
      if (chardev === undefined) throw new StartError(`chardev "${id}" not found`)
      return this.#open(chardev, mode === 'control', pretty === 'on')
    }
    const chardev = parseChardev(chardevText(value, `compat_monitor${this.#monitors++}`), { remote: false })
    this.#chardevs.set(chardev.id, chardev)
    await this.#open(chardev, name !== 'monitor', name === 'qmp-pretty')
  }

  async #open(chardev: Chardev, isControl: boolean, pretty: boolean): Promise<void> {
    const count = countClients(this.#connected, chardev.id)
    const close = await chardev.open((input, output, client) => {
      const served = isControl
        ? serveClient(this.#monitor, input, output, { ...client, pretty, ready: this.#started }, this.#clients.signal)
        : this.#serveHuman(input, output)
      this.#served.add(served)
      return count(served).finally(() => this.#served.delete(served))
    })
    this.#closers.push(close)
  }

  async #serveHuman(input: Readable, output: Writable): Promise<void> {
    this.#humans.push(
      new HumanMonitor({ input, output }, compatibleVersion, (line) => this.#human(line), this.#started),
    )
  }

  #human(line: string): Promise<string> {
    const host = {
      graph: this.#graph,
      devices: this.#devices,
      drives: this.#drives,
      models: this.#models,
      qemuIo: this.#qemuIo,
      monitor: this.#monitor,
    }
    return runHuman(host, line)
  }

  #warn(message: string): void {
    const bare = /^(WARNING: |qcow2: |Can no longer )/.test(message)
    process.stderr.write(bare ? `${message}\n` : `${this.#program}: warning: ${message}\n`)
  }
}

/** Values of `-object` for the memory and the random numbers of a machine. */
const ofMachine = /^(?:qom-type=)?(?:memory-backend-|rng-)\w+(?:,|$)/

const driveNames = ['drive', 'hda', 'hdb', 'hdc', 'hdd', 'cdrom', 'fda', 'fdb']

/** The value of `-drive` that a shorter option stands for. */
function shortcut(name: string, value: string): string {
  const file = `file=${value.replaceAll(',', ',,')}`
  if (name === 'drive') return value
  if (name === 'cdrom') return `${file},if=ide,index=2,media=cdrom`
  const place = name.startsWith('fd') ? 'floppy' : 'ide'
  return `${file},if=${place},index=${name.charCodeAt(2) - 'a'.charCodeAt(0)}`
}

/** `stdio` and `unix:PATH,server=on` as the options of a character device. */
function chardevText(value: string, id: string): string {
  const [, kind, rest = ''] = /^(unix|tcp):(.*)$/.exec(value) ?? []
  if (kind === 'unix') return `socket,id=${id},path=${rest}`
  if (kind === 'tcp') return `socket,id=${id},${rest.replace(/^([^:,]*):(\d+)/, 'host=$1,port=$2')}`
  return `${value},id=${id}`
}
