/** `qemu-io`: the commands of `dg-io` on devices and nodes of the machine. They are the guest's requests here. */
import { BlockError, type Disk, type Graph, Permission } from '@diskgraph/core'
import type { Device, DeviceTable } from '@diskgraph/devices'
import { diskCommands, reopenCommand, reopenNode, Session } from '@diskgraph/tools'
import { programTerminal } from './terminal.ts'

/** See the top of the file. Results go to standard output, as in QEMU; errors to whom they are to be told. */
export class QemuIo {
  readonly #graph: Graph
  readonly #devices: DeviceTable
  readonly #session: Session
  #tell: (text: string) => void = () => undefined
  /** The device that a line is for. */
  #device: Device | undefined
  readonly #reopen = reopenCommand(async ({ graph, node }, request) => {
    await reopenNode(graph, node, request)
    if (request.cache !== undefined && this.#device !== undefined) {
      this.#device.writeCache = !request.cache.writethrough
    }
  })

  constructor(graph: Graph, devices: DeviceTable, program: string, signal: AbortSignal) {
    this.#graph = graph
    this.#devices = devices
    const terminal = programTerminal(program, signal, (text) => this.#tell(text.replace(`${program}: `, '')))
    this.#session = new Session(terminal, graph, [...diskCommands, this.#reopen], false)
    // Requests in the background tell their results as soon as they end.
    void this.#session.background.whileWaiting(() => new Promise(() => undefined))
  }

  /** Runs `line` on the disk of a device (by the name of its model with `byModel`) or on a node. ENODEV if there is none. */
  async run(name: string, line: string, byModel: boolean, tell: (text: string) => void): Promise<void> {
    const session = this.#session
    const device = this.#devices.find(name, byModel)
    const writes = session.find(line.trim().split(' ')[0] ?? '')?.writes === true
    if (device?.medium !== undefined) {
      if (writes) await device.mayWrite()
      this.#device = device
      try {
        await this.#on(device.medium, line, tell)
      } finally {
        this.#device = undefined
      }
      return
    }
    const node = device === undefined && !byModel ? this.#graph.find(name) : undefined
    if (device !== undefined) throw new BlockError('ENOMEDIUM', `Device '${name}' has no medium`)
    if (node === undefined) {
      const message = byModel ? `Device '${name}' not found` : `Cannot find device='' nor node-name='${name}'`
      throw new BlockError('ENODEV', message)
    }
    const permissions = writes && !node.readOnly ? Permission.ConsistentRead | Permission.Write : 0
    const disk = await this.#graph.attach(node, { permissions })
    await this.#on(disk, line, tell)
    // Requests in the background need it still.
    void session.background
      .finish()
      .then(() => disk.close())
      .catch((error: Error) => this.#graph.warn(`closing node '${name}' failed: ${error.message}`))
  }

  async #on(disk: Disk, line: string, tell: (text: string) => void): Promise<void> {
    const session = this.#session
    session.file = { disk, filename: disk.filename, node: disk.node }
    this.#tell = tell
    try {
      await session.run(line)
    } finally {
      session.file = undefined
    }
  }
}
