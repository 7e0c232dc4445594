/** Sockets that clients come through, and those that a monitor connects to. */
import { existsSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { BlockError, describeErrorCode, errorCodeOf } from '@diskgraph/core'
import { checkSettings, due, kindOf, wholeNumber } from '@diskgraph/core/internal'
import { claimSocketPath, listenPrivately } from '@diskgraph/nbd'

/** Where to listen, or what to connect to. */
export type SocketAddress =
  | { readonly path: string }
  | { readonly host: string; readonly port: number }
  /** A socket that the program was started with. */
  | { readonly fd: number }

/** A socket that listens. */
export interface Listener {
  /** The port, where it listens on one. */
  readonly port: number | undefined
  /** Stops listening and removes the socket's file. Connections stay. */
  close(): Promise<void>
}

/** What may come in. */
export interface ListenSettings {
  /** Listen beyond this machine, too. */
  readonly remote?: boolean
  /** How many clients there may be at once; others are let go. Default 32. */
  readonly connections?: number
}

/**
 * Listens at `address` and passes each connection on, paused. A socket's file is for its owner alone. A socket that nobody listens at any more is replaced. EACCES for an address that others on the network
 * reach, unless `settings.remote` says so; EBUSY for one that is in use.
 */
export async function listen(
  address: SocketAddress,
  onConnection: (socket: Socket) => void,
  settings: ListenSettings = {},
): Promise<Listener> {
  checkAddress('listen', address)
  checkSettings('listen', { onConnection: due.callback, ...rules }, { onConnection, ...settings })
  if ('host' in address && !settings.remote && !isLoopback(address.host)) {
    throw new BlockError('EACCES', `refusing to listen at '${address.host}', which others on the network reach`, {
      hint: 'listen at 127.0.0.1 or a unix socket, or allow remote clients',
    })
  }
  // A socket begins paused, so that who serves it may read the descriptors that come along.
  const server = createServer({ pauseOnConnect: true }, onConnection)
  server.maxConnections = settings.connections ?? 32
  if ('path' in address) await makePlace(address.path)
  await listening(server, address)
  const own = server.address()
  return {
    port: typeof own === 'object' ? own?.port : undefined,
    // It stops at once; what it would wait for are the connections.
    close: async () => void server.close(),
  }
}

/** A connection, paused, to a socket at which somebody listens. ENOENT and the like where nobody does. */
export async function connectTo(address: SocketAddress): Promise<Socket> {
  checkAddress('connectTo', address)
  if ('fd' in address) throw new BlockError('ENOTSUP', 'a connection is not made to a descriptor')
  return new Promise((resolve, reject) => {
    const socket = 'path' in address ? connect(address.path) : connect(address.port, address.host)
    socket.pause()
    const fail = (cause: Error): void => reject(socketError(`Failed to connect to '${nameOf(address)}'`, cause))
    socket.once('error', fail)
    socket.once('connect', () => {
      socket.off('error', fail)
      resolve(socket)
    })
  })
}

const rules = { remote: due.flag, connections: wholeNumber() }

const addresses = {
  path: { path: due.text },
  host: { host: due.text, port: { ...wholeNumber(0, 65535), required: true } },
  fd: { fd: wholeNumber() },
}

/** @internal Throws EINVAL for what is no address. */
export function checkAddress(call: string, address: unknown): asserts address is SocketAddress {
  const isObject = typeof address === 'object' && address !== null
  const kind = isObject ? (['path', 'host', 'fd'] as const).find((name) => name in address) : undefined
  if (kind !== undefined) return checkSettings(`the address of ${call}`, addresses[kind], address)
  throw new BlockError('EINVAL', `${call} needs an address, { path }, { host, port } or { fd }, not ${kindOf(address)}`)
}

function listening(server: Server, address: SocketAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (cause: Error): void => reject(socketError(`Failed to listen at '${nameOf(address)}'`, cause))
    server.once('error', fail)
    server.once('listening', () => {
      server.off('error', fail)
      resolve()
    })
    if ('path' in address) listenPrivately(server, address.path)
    else server.listen(address)
  })
}

async function makePlace(path: string): Promise<void> {
  await claimSocketPath(path)
  // Node would say that it may not.
  if (!existsSync(dirname(path))) {
    throw new BlockError('ENOENT', `Failed to bind socket to ${path}: No such file or directory`)
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

function nameOf(address: SocketAddress): string {
  if ('path' in address) return address.path
  return 'host' in address ? `${address.host}:${address.port}` : `descriptor ${address.fd}`
}

function socketError(attempt: string, cause: unknown): BlockError {
  const code = errorCodeOf(cause)
  if ((cause as NodeJS.ErrnoException).code === 'EADDRINUSE') {
    return new BlockError(code, `${attempt}: Address already in use`, { cause })
  }
  const reason = code === 'EIO' && cause instanceof Error ? cause.message : describeErrorCode(code)
  return new BlockError(code, `${attempt}: ${reason}`, { cause })
}
