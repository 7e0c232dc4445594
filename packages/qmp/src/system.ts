/** What the commands work on: a graph, and what else a program has. */
import { BlockError, type Graph, type Node } from '@diskgraph/core'
import { Schema } from '@diskgraph/qapi'

/** The devices of a program, as far as commands about nodes ask for them. */
export interface DeviceNodes {
  /** The node that the device called `id` shows; undefined if there is no such device or it is empty. */
  nodeOf(id: string): Node | undefined
}

/** What a {@link System} is made of. */
export interface SystemSettings {
  readonly graph: Graph
  /** The name of the machine, for `query-name`. */
  readonly name?: string
  readonly devices?: DeviceNodes
  /** Ends the program. */
  quit?(): void
}

/** See the top of the file. */
export class System {
  readonly graph: Graph
  readonly schema: Schema
  readonly name: string | undefined
  readonly devices: DeviceNodes | undefined
  readonly #quit: (() => void) | undefined

  constructor(settings: SystemSettings) {
    this.graph = settings.graph
    this.schema = new Schema(() => settings.graph.registry.names)
    this.name = settings.name
    this.devices = settings.devices
    this.#quit = settings.quit
  }

  /** Ends the program. ENOTSUP where nothing is to be ended. */
  quit(): void {
    if (this.#quit === undefined) throw new BlockError('ENOTSUP', 'this monitor is part of a program that goes on')
    this.#quit()
  }

  /** The node that a device shows or that has a name, whichever of the two is given. ENODEV if there is none. */
  find(device: string | undefined, nodeName: string | undefined): Node {
    const found =
      (device === undefined ? undefined : this.devices?.nodeOf(device)) ??
      (nodeName === undefined ? undefined : this.graph.find(nodeName))
    if (found !== undefined) return found
    throw new BlockError('ENODEV', `Cannot find device='${device ?? ''}' nor node-name='${nodeName ?? ''}'`)
  }

  /** The node that `name` means where it may be that of a device, too. */
  findEither(name: string): Node {
    return this.find(name, name)
  }
}
