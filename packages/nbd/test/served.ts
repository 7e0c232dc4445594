/** A server in this process over a disk in memory, and clients of it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Clock, Graph, systemClock } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import {
  connectSocket,
  type ExportSettings,
  listen,
  NbdClient,
  type NbdClientSettings,
  NbdServer,
  type NbdServerSettings,
} from '@diskgraph/nbd'

export class Served {
  readonly graph: Graph
  readonly server: NbdServer
  readonly folder: string
  readonly path: string
  readonly messages: string[]

  private constructor(graph: Graph, server: NbdServer, folder: string, messages: string[]) {
    this.graph = graph
    this.server = server
    this.folder = folder
    this.path = join(folder, 'socket')
    this.messages = messages
  }

  static async start(
    settings: NbdServerSettings = {},
    exported: ExportSettings = {},
    size = 1048576,
    clock: Clock = systemClock,
  ): Promise<Served> {
    const graph = new Graph({ drivers: [memory], clock })
    const messages: string[] = []
    const server = new NbdServer(graph, { onMessage: (message) => messages.push(message), ...settings })
    const served = new Served(graph, server, await mkdtemp(join(tmpdir(), 'nbd-')), messages)
    const disk = await graph.add({ driver: 'memory', size, nodeName: 'disk', discard: 'unmap' })
    await server.exports.add(disk, { name: '', writable: true, ...exported })
    await listen(server, { path: served.path })
    return served
  }

  client(settings: Partial<NbdClientSettings> = {}): Promise<NbdClient> {
    return NbdClient.connect({ connect: () => connectSocket({ path: this.path }), ...settings })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close()
    await this.graph.close()
    await rm(this.folder, { recursive: true })
  }
}
