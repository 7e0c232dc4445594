/** Character devices: what a monitor talks through. */

import { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { errorCodeOf } from '@diskgraph/core'
import { parseKeyValues, type TypeOf, toObject } from '@diskgraph/qapi'
import { connectTo, listen, type SessionSettings, type SocketAddress } from '@diskgraph/qmp'
import { messageOf, StartError } from './failure.ts'

/** Serves one client. */
export type Serve = (input: Readable, output: Writable, client: ClientKind) => Promise<void>

/** How far a client is to be trusted, and whether it reads on when it sends nothing more. */
type ClientKind = Pick<SessionSettings, 'network' | 'halfOpen'>

/** A character device that is defined, and not used yet. */
export interface Chardev {
  readonly id: string
  /** What it is, while no client is connected. */
  readonly filename: string
  /** Gives clients to `serve` from now on; the result ends that. With `wait`, the first client is there then. */
  open(serve: Serve): Promise<() => Promise<void>>
}

/** Begins to count the clients of a character device in `connected`, which says by that that it is used. */
export function countClients(connected: Map<string, number>, id: string): (served: Promise<void>) => Promise<void> {
  const add = (count: number): unknown => connected.set(id, (connected.get(id) ?? 0) + count)
  add(0)
  return (served) => {
    add(1)
    return served.finally(() => add(-1))
  }
}

/** What `query-chardev` tells. */
export function chardevInfo(
  chardevs: ReadonlyMap<string, Chardev>,
  connected: ReadonlyMap<string, number>,
): TypeOf<'ChardevInfo'>[] {
  return [...chardevs.values()].map(({ id, filename }) => {
    const isOpen = (connected.get(id) ?? 0) > 0
    return {
      'frontend-open': connected.has(id),
      filename: isOpen ? filename.replace('disconnected:', '') : filename,
      label: id,
    }
  })
}

/** How character devices of this program are. */
interface ChardevSettings {
  /** Listening on TCP may be for others on the network. */
  readonly remote: boolean
  /** There are ports of a machine, which have terminals, too. */
  readonly ports?: boolean
}

/** The kinds there are. */
export const chardevBackends: readonly string[] = ['null', 'socket', 'stdio']

/** What `text`, the value of `--chardev`, defines. */
export function parseChardev(text: string, settings: ChardevSettings): Chardev {
  const { backend, id, ...options } = toObject(parseKeyValues(text, 'backend'))
  if (id === undefined) throw new StartError('chardev: no id specified')
  if (backend === 'stdio') return stdio(id, options)
  if (backend === 'socket') return socket(id, options, settings)
  if (backend === 'pty' && settings.ports) return terminal(id, options)
  if (backend === 'null') {
    refuseOthers(options)
    return { id, filename: 'null', open: async () => async () => undefined }
  }
  throw new StartError(
    backend === undefined ? 'chardev: "" missing backend' : `'${backend}' is not a valid char driver name`,
  )
}

/** For a port of a machine, through which nothing comes. */
function terminal(id: string, options: Record<string, string>): Chardev {
  refuseOthers(options)
  const open = async (): Promise<never> => {
    throw new StartError(`a monitor cannot use the terminal '${id}'; socket and stdio serve one`)
  }
  return { id, filename: 'pty', open }
}

function stdio(id: string, { signal: _, mux: _mux, ...others }: Record<string, string>): Chardev {
  refuseOthers(others)
  return {
    id,
    filename: 'stdio',
    open: async (serve) => {
      void serve(process.stdin, process.stdout, { halfOpen: true })
      return async () => undefined
    },
  }
}

function socket(id: string, options: Record<string, string>, { remote }: ChardevSettings): Chardev {
  const {
    path,
    host,
    port,
    fd,
    server,
    wait,
    reconnect,
    nodelay: _n,
    delay: _d,
    ipv4: _4,
    ipv6: _6,
    telnet,
    to: _t,
  } = options
  const { path: _p, host: _h, port: _po, fd: _f, server: _s, wait: _w, reconnect: _r, telnet: _te, ...rest } = options
  const { nodelay: _n2, delay: _d2, ipv4: _42, ipv6: _62, to: _t2, ...others } = rest
  refuseOthers(others)
  if (telnet === 'on') throw new StartError("'telnet' is not supported")
  const address = addressOf(path, host, port, fd)
  const network = 'host' in address
  if (isOn(server)) {
    return {
      id,
      filename: `disconnected:${'path' in address ? `unix:${address.path}` : 'tcp'},server=on`,
      open: (serve) => serveClients(address, serve, { network, wait: wait === undefined || isOn(wait), remote }),
    }
  }
  const again = reconnect === undefined ? undefined : Number(reconnect) * 1000
  return {
    id,
    filename: 'path' in address ? `unix:${address.path}` : 'tcp',
    open: (serve) => serveOneServer(address, serve, again),
  }
}

function addressOf(
  path: string | undefined,
  host: string | undefined,
  port: string | undefined,
  fd: string | undefined,
): SocketAddress {
  if (path !== undefined) return { path }
  if (fd !== undefined && /^\d+$/.test(fd)) return { fd: Number(fd) }
  if (fd !== undefined) throw new StartError(`Unable to parse FD number ${fd}`)
  if (host === undefined || port === undefined)
    throw new StartError("chardev: socket: 'path', 'fd', or 'host' and 'port' are needed")
  const number = Number(port)
  if (!/^\d+$/.test(port) || number > 65535) throw new StartError(`chardev: socket: '${port}' is no port`)
  return { host, port: number }
}

interface ServerSettings {
  readonly network: boolean
  readonly wait: boolean
  readonly remote: boolean
}

async function serveClients(
  address: SocketAddress,
  serve: Serve,
  { network, wait, remote }: ServerSettings,
): Promise<() => Promise<void>> {
  let arrived: () => void = () => undefined
  const first = new Promise<void>((resolve) => {
    arrived = resolve
  })
  const listener = await listen(
    address,
    (client) => {
      arrived()
      void serve(client, client, { network })
    },
    { remote },
  ).catch((error) => {
    throw errorCodeOf(error) === 'EACCES' && network
      ? new StartError(messageOf(error), error, '--allow-tcp lets them')
      : error
  })
  if (wait) await first
  return () => listener.close()
}

async function serveOneServer(
  address: SocketAddress,
  serve: Serve,
  again: number | undefined,
): Promise<() => Promise<void>> {
  let ended = false
  let timer: NodeJS.Timeout | undefined
  const connectOnce = async (): Promise<void> => {
    const peer = 'fd' in address ? new Socket({ fd: address.fd }) : await connectTo(address)
    void serve(peer, peer, {}).then(retry)
  }
  const retry = (): void => {
    if (ended || again === undefined) return
    timer = setTimeout(() => void connectOnce().catch(retry), again)
  }
  await connectOnce().catch((error) => {
    if (again === undefined) throw error
    retry()
  })
  return async () => {
    ended = true
    clearTimeout(timer)
  }
}

function isOn(value: string | undefined): boolean {
  return value === 'on' || value === 'yes'
}

function refuseOthers(others: Readonly<Record<string, string>>): void {
  const [name] = Object.keys(others)
  if (name !== undefined) throw new StartError(`Invalid parameter '${name}'`)
}
