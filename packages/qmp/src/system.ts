/** What the commands work on: a graph, and what else a program has. */
import { BlockError, type Graph, type Node } from '@diskgraph/core'
import { checkSettings, due, hasMethod, type Inspect, inspected, inspection, rule } from '@diskgraph/core/internal'
import type { DeviceTable } from '@diskgraph/devices'
import { JobTable } from '@diskgraph/jobs'
import { Schema, type TypeOf } from '@diskgraph/qapi'
import { DescriptorTable } from './descriptors.ts'
import { NbdExports } from './nbd-exports.ts'
import { QomObjects } from './objects/object-table.ts'

/** What a {@link System} is made of. */
export interface SystemSettings {
  readonly graph: Graph
  /** The name of the machine, for `query-name`. */
  readonly name?: string
  readonly devices?: DeviceTable
  /** The character devices of the program, for `query-chardev`. */
  chardevs?(): readonly TypeOf<'ChardevInfo'>[]
  /** Ends the program. */
  quit?(): void
  /** Hears what is done here, for a log: `QMP command`, `export added`, `NBD client came`, with what of. No values of options. */
  onActivity?(message: string, members: Readonly<Record<string, unknown>>): void
}

const rules = {
  graph: { ...due.graph, required: true },
  name: due.text,
  devices: rule('a DeviceTable', (value) => hasMethod(value, 'addModel')),
  chardevs: due.callback,
  quit: due.callback,
  onActivity: due.callback,
}

/** See the top of the file. */
export class System {
  readonly graph: Graph
  readonly schema: Schema
  readonly name: string | undefined
  readonly devices: DeviceTable | undefined
  readonly jobs: JobTable
  /** Secrets, limits, credentials and the like. */
  readonly objects: QomObjects
  readonly chardevs: (() => readonly TypeOf<'ChardevInfo'>[]) | undefined
  /** Descriptors that the program was given. */
  readonly descriptors = new DescriptorTable()
  /** The NBD server that clients may start. */
  readonly nbd: NbdExports
  readonly onActivity: SystemSettings['onActivity']
  readonly #quit: (() => void) | undefined

  /** EINVAL for settings that are none. */
  constructor(settings: SystemSettings) {
    checkSettings('new System', rules, settings)
    this.graph = settings.graph
    this.schema = new Schema(() => settings.graph.registry.names)
    this.name = settings.name
    this.devices = settings.devices
    this.objects = new QomObjects(settings.graph, this.schema)
    this.chardevs = settings.chardevs
    this.jobs = new JobTable(settings.graph)
    this.onActivity = settings.onActivity
    this.nbd = new NbdExports(settings.graph, this.descriptors, settings.onActivity)
    this.graph.objects.add('descriptor-sets', '/dev/fdset', this.descriptors)
    this.#quit = settings.quit
  }

  /** Ends the program. ENOTSUP where nothing is to be ended. */
  quit(): void {
    if (this.#quit === undefined) throw new BlockError('ENOTSUP', 'this monitor is part of a program that goes on')
    this.#quit()
  }

  /** Ends jobs, exports and devices; the graph stays. The first error is thrown when everything was tried. */
  async close(): Promise<void> {
    const ends = [this.nbd.close(), this.jobs.close(), this.devices?.close()]
    this.descriptors.close()
    for (const end of await Promise.allSettled(ends)) if (end.status === 'rejected') throw end.reason
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** What is worth knowing of it. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { name, graph, devices, jobs } = this
    return { name, nodes: [...graph.nodes].length, devices: [...(devices ?? [])].length, jobs: jobs.list().length }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('System', this, options, inspect)
  }

  /** The node that a device shows or that has a name, whichever of the two is given. ENODEV if there is none. */
  find(device: string | undefined, nodeName: string | undefined): Node {
    const found =
      (device === undefined ? undefined : this.devices?.nodeOf(device)) ??
      (nodeName === undefined ? undefined : this.graph.find(nodeName))
    if (found !== undefined) return found
    throw new BlockError('ENODEV', `Cannot find device='${device ?? ''}' nor node-name='${nodeName ?? ''}'`)
  }

  /** Throws EBUSY for a node that is the backing file of another one, and so is not to be changed by itself. */
  refuseBacking(node: Node): void {
    for (const { role, parentName } of node.parents) {
      if (role !== 'cow') continue
      throw new BlockError('EBUSY', `Node '${node.name}' is busy: node is used as backing hd of '${parentName}'`)
    }
  }

  /** As {@link findEither}, for a node that is the top of a disk: no other node is above it. */
  findRoot(name: string): Node {
    const node = this.findEither(name)
    for (const { parent } of node.parents) {
      if (!parent.isRoot) throw new BlockError('EBUSY', 'Need a root block node')
    }
    return node
  }

  /** The node that `name` means where it may be that of a device, too. */
  findEither(name: string): Node {
    return this.find(name, name)
  }
}
