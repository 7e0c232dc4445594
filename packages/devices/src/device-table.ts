/** The devices of a graph by name. */

import { BlockError, type Graph, type Node } from '@diskgraph/core'
import { checkSettings, due, type Inspect, inspected, inspection, rule } from '@diskgraph/core/internal'
import { Device } from './device.ts'
import { type DeviceModel, type DeviceSettings, deviceRules } from './device-settings.ts'
import { RunState } from './run-state.ts'

const aRunState = rule('a RunState', (value) => value instanceof RunState)

/** See the top of the file. */
export class DeviceTable implements Iterable<Device> {
  readonly graph: Graph
  readonly runState: RunState
  readonly #devices = new Map<Device, () => void>()
  readonly #stopListening: () => void
  #closed = false

  /** `runState` default: guests run. */
  constructor(graph: Graph, runState = new RunState(graph)) {
    checkSettings(
      'new DeviceTable',
      { graph: { ...due.graph, required: true }, runState: aRunState },
      { graph, runState },
    )
    this.graph = graph
    this.runState = runState
    this.#stopListening = runState.onChange((status) => {
      if (status === 'running') for (const device of this.#devices.keys()) device.resume()
    })
  }

  /**
   * Adds a device, with `node` as its medium or none. EINVAL for a name that is taken or policies that are none, EPERM
   * when other users of the node stand against it, ENODEV when the table is closed.
   */
  async add(settings: DeviceSettings = {}, node?: Node | string): Promise<Device> {
    checkSettings('DeviceTable.add', deviceRules, settings)
    if (this.#closed) throw new BlockError('ENODEV', 'cannot add a device: the table of devices is closed')
    const { graph } = this
    const device = new Device(this, settings)
    const release = device.id === '' ? () => undefined : graph.claimName(device.id)
    this.#devices.set(device, release)
    try {
      if (node !== undefined) await device.insertFirst(typeof node === 'string' ? requireNode(graph, node) : node)
      return device
    } catch (error) {
      this.forget(device)
      throw error
    }
  }

  /** Adds a device without a name on `node` and puts `model` over it. Nothing is left of it if that fails. */
  async addModel(
    model: DeviceModel,
    qdev: string,
    node?: Node | string,
    settings: DeviceSettings = {},
  ): Promise<Device> {
    const device = await this.add(settings, node)
    try {
      await device.attach(model, qdev)
      return device
    } catch (error) {
      await device.close()
      throw error
    }
  }

  /** The device called `id`, or whose model is called so where `byModel` is set. */
  find(id: string, byModel = false): Device | undefined {
    for (const device of this) {
      if (byModel ? device.qdev !== undefined && namesModel(device.qdev, id) : id !== '' && device.id === id)
        return device
    }
    return undefined
  }

  /** The node that the device called `id` shows; undefined if there is none or it is empty. */
  nodeOf(id: string): Node | undefined {
    return this.find(id)?.node
  }

  /** The device that a command names by exactly one of `device` and `id`. ENODEV if there is none. */
  require({ device, id }: { readonly device?: string; readonly id?: string }): Device {
    if ((device === undefined) === (id === undefined)) {
      throw new BlockError('EINVAL', "Need exactly one of 'device' and 'id'")
    }
    const found = id === undefined ? this.find(device as string) : this.find(id, true)
    if (found === undefined) throw new BlockError('ENODEV', `Device '${device ?? id}' not found`)
    return found
  }

  /** Those with a name first, as QEMU tells of them. */
  *[Symbol.iterator](): Iterator<Device> {
    const all = [...this.#devices.keys()]
    yield* all.filter(({ id }) => id !== '')
    yield* all.filter(({ id }) => id === '')
  }

  /** What is worth knowing of them. */
  toJSON(): Readonly<Record<string, unknown>> {
    return { devices: [...this], runState: this.runState.status }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('DeviceTable', this, options, inspect)
  }

  /** @internal */
  forget(device: Device): void {
    this.#devices.get(device)?.()
    this.#devices.delete(device)
  }

  /** Closes all devices, and takes no others from then on; the first error is thrown when everything was tried. */
  async close(): Promise<void> {
    this.#closed = true
    this.#stopListening()
    const results = await Promise.allSettled([...this.#devices.keys()].map((device) => device.close()))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** A model is called by its id or by its path: `/machine/peripheral/vb/virtio-backend`, or the path without the backend. */
function namesModel(qdev: string, id: string): boolean {
  const path = pathOf(id)
  return pathOf(qdev) === path || qdev === `${path}/virtio-backend`
}

/** The path of a model that has an id. */
function pathOf(name: string): string {
  return name.startsWith('/') ? name : `/machine/peripheral/${name}`
}

function requireNode(graph: Graph, name: string): Node {
  const node = graph.find(name)
  if (node === undefined) throw new BlockError('ENODEV', `Cannot find device='${name}' nor node-name='${name}'`)
  return node
}
