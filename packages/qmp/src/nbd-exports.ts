/** The NBD server that a monitor starts and stops, and its exports. */
import { BlockError, type Graph, type Node } from '@diskgraph/core'
import {
  type Authorizer,
  type ExportSettings,
  listen,
  type NbdExport,
  NbdServer,
  type TlsCredentials,
} from '@diskgraph/nbd'
import type { TypeOf } from '@diskgraph/qapi'

/** Descriptors by name. */
interface NamedDescriptors {
  takeNamed(name: string): number
}

/** Where the server listens, and for whom. */
export interface NbdServerOptions {
  readonly addr: TypeOf<'SocketAddress'>
  readonly 'tls-creds'?: string | undefined
  readonly 'tls-authz'?: string | undefined
  readonly 'max-connections'?: number | undefined
}

type OnActivity = (message: string, members: Readonly<Record<string, unknown>>) => void

/** See the top of the file. */
export class NbdExports {
  readonly #graph: Graph
  readonly #descriptors: NamedDescriptors
  readonly #onMessage: (message: string) => void
  readonly #onActivity: OnActivity
  #server: NbdServer | undefined

  constructor(graph: Graph, descriptors: NamedDescriptors, onActivity: OnActivity = () => undefined) {
    this.#onActivity = onActivity
    this.#graph = graph
    this.#descriptors = descriptors
    this.#onMessage = (message) => graph.warn(`NBD: ${message}`)
  }

  /** Starts the server. EBUSY if there is one; what listening says otherwise. */
  async start(options: NbdServerOptions): Promise<void> {
    if (this.#server !== undefined) throw new BlockError('EBUSY', 'NBD server already running')
    const { 'tls-creds': credentials, 'tls-authz': authz, 'max-connections': maxConnections } = options
    const tls = credentials === undefined ? undefined : this.#credentials(credentials).server(this.#authorizer(authz))
    const server = new NbdServer(this.#graph, {
      ...(tls === undefined ? {} : { tls }),
      ...(maxConnections === undefined ? {} : { maxConnections }),
      onMessage: this.#onMessage,
      onClient: (what, id, address) =>
        this.#onActivity(`NBD client ${what}`, { export: id, ...(address === undefined ? {} : { address }) }),
    })
    this.#server = server
    try {
      await listen(server, this.#address(options.addr))
    } catch (error) {
      // It may have been stopped meanwhile, and another one started.
      if (this.#server === server) this.#server = undefined
      await server.close()
      throw error
    }
  }

  /** Drops all clients, removes all exports. EINVAL if there is no server. */
  async stop(): Promise<void> {
    const server = this.#running()
    this.#server = undefined
    await server.close()
  }

  /** Stops the server if there is one. */
  async close(): Promise<void> {
    if (this.#server !== undefined) await this.stop()
  }

  /** Exports `node`. EINVAL if there is no server, the id is none, or it or the name is taken. */
  async add(node: Node, settings: ExportSettings & { readonly id: string }): Promise<NbdExport> {
    if (!/^[A-Za-z][\w.-]*$/.test(settings.id)) throw new BlockError('EINVAL', 'Invalid block export id')
    const added = await this.#running().exports.add(node, settings)
    const { id, name, writable } = settings
    this.#onActivity('export added', { id, name, node: node.name, writable: writable === true })
    return added
  }

  /** Removes `added` if it is there still. */
  async end(added: NbdExport): Promise<void> {
    const { exports } = this.#server ?? {}
    if (exports?.get(added.id) === added) await exports.remove(added.id, 'hard')
  }

  /** Throws EINVAL if there is no server. */
  mustRun(): void {
    this.#running()
  }

  /** Removes an export; `safe` refuses while it has clients. */
  async remove(id: string, mode: 'safe' | 'hard' | undefined): Promise<void> {
    const { exports } = this.#server ?? {}
    if (exports === undefined) throw new BlockError('ENOENT', `Export '${id}' is not found`)
    await exports.remove(id, mode)
  }

  /** All exports, the youngest first. */
  list(): readonly NbdExport[] {
    return [...(this.#server?.exports ?? [])].reverse()
  }

  #running(): NbdServer {
    if (this.#server === undefined) throw new BlockError('EINVAL', 'NBD server not running')
    return this.#server
  }

  #address(addr: NbdServerOptions['addr']): Parameters<typeof listen>[1] {
    switch (addr.type) {
      case 'unix':
        return { path: addr.path }
      case 'inet':
        return { host: addr.host, port: portNumber(addr.port) }
      case 'fd':
        return { fd: /^\d{1,9}$/.test(addr.str) ? Number(addr.str) : this.#descriptors.takeNamed(addr.str) }
      case 'vsock':
        throw new BlockError('ENOTSUP', 'socket family AF_VSOCK unsupported')
    }
  }

  #credentials(id: string): TlsCredentials {
    const found = this.#graph.objects.find('tls-creds', id)
    if (found === undefined) throw new BlockError('EINVAL', `No TLS credentials with id '${id}'`)
    return found as TlsCredentials
  }

  #authorizer(id: string | undefined): Authorizer | undefined {
    if (id === undefined) return undefined
    // As in QEMU, an authorizer may come later; until then nobody is let in.
    return (name) => (this.#graph.objects.find('authz', id) as Authorizer | undefined)?.(name) === true
  }
}

function portNumber(text: string): number {
  const port = Number(text)
  if (/^\d+$/.test(text) && port < 65536) return port
  throw new BlockError('EINVAL', `'${text}' is no port: give its number`)
}
