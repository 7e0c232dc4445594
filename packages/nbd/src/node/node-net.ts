/** Servers and clients on the sockets of Node: unix sockets, TCP, and descriptors that were inherited. */
import { existsSync, fstatSync, lstatSync, unlinkSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, Socket } from 'node:net'
import { dirname } from 'node:path'
import { BlockError, describeErrorCode, errorCodeOf, isBlockError } from '@diskgraph/core/driver'
import type { NbdServer } from '../server/server.ts'

/** Where a server listens, or a client connects to. */
export type SocketAddress =
  | { readonly path: string }
  | { readonly host?: string; readonly port: number; readonly family?: 4 | 6 }
  /** A socket that the process has inherited. */
  | { readonly fd: number }

/** Bytes of the path of a unix socket: those of `sun_path`, with a zero behind them. */
const longestPath = 107

/** A listening socket of a server. */
export interface NbdListener {
  /** Where it listens; the port that was found for port 0. */
  readonly address: SocketAddress
  /** Accepts no more clients; those that are there stay. */
  close(): Promise<void>
}

/**
 * Lets `server` serve the clients that come to `address`; ends with the server. A socket file that is there is
 * replaced, anything else of that name is not. EADDRINUSE and its kin are BlockErrors with QEMU's words.
 */
export async function listen(server: NbdServer, address: SocketAddress): Promise<NbdListener> {
  const listener = createServer({ pauseOnConnect: true, noDelay: true }, (socket) =>
    server.accept(socket, socket.remoteAddress),
  )
  if ('path' in address) {
    refuseLongPath(address.path)
    removeSocketFile(address.path)
  }
  await start(listener, address)
  const close = (): Promise<void> => new Promise((resolve) => listener.close(() => resolve()))
  server.closeWith(close)
  return { address: boundAddress(listener, address), close }
}

function start(listener: Server, address: SocketAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    listener.once('error', (error) => reject(listenError(error, address)))
    listener.once('listening', () => {
      listener.removeAllListeners('error')
      // A client that was gone before it was accepted is no reason to stop.
      listener.on('error', () => {})
      resolve()
    })
    if ('path' in address) listener.listen({ path: address.path })
    else if ('fd' in address) listener.listen({ fd: address.fd })
    else listener.listen({ port: address.port, host: address.host ?? '0.0.0.0' })
  })
}

function boundAddress(listener: Server, address: SocketAddress): SocketAddress {
  if (!('port' in address)) return address
  return { ...address, port: (listener.address() as AddressInfo).port }
}

/** Throws EINVAL for a path of a unix socket that is too long: it would be cut, without a word, to another one. */
export function refuseLongPath(path: string): void {
  if (Buffer.byteLength(path) <= longestPath) return
  throw new BlockError('EINVAL', `UNIX socket path '${path}' is too long`, {
    hint: `Path must be less than ${longestPath + 1} bytes`,
  })
}

function removeSocketFile(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) throw new BlockError('EEXIST', `'${path}' is there and is no socket`)
  unlinkSync(path)
}

function listenError(error: NodeJS.ErrnoException, address: SocketAddress): BlockError {
  // The system's own error is hidden where the directory is missing.
  const missing = 'path' in address && error.code === 'EACCES' && !existsSync(dirname(address.path))
  const reason = missing ? describeErrorCode('ENOENT') : reasonOf(error)
  const attempt = 'path' in address ? `Failed to bind socket to ${address.path}` : 'Failed to find an available port'
  const unknown = error.code === 'ENOTFOUND' || error.code === 'EAI_AGAIN'
  const message = unknown ? unknownHost(address) : `${attempt}: ${reason}`
  return new BlockError(errorCodeOf(error), message, { cause: error })
}

/** Connects to a server. The errors are BlockErrors with QEMU's words. */
export function connectSocket(address: SocketAddress, signal?: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    let socket: Socket
    try {
      socket =
        'fd' in address
          ? new Socket({ fd: socketDescriptor(address.fd), readable: true, writable: true })
          : connect('path' in address ? { path: address.path } : { ...tcpOptions(address), noDelay: true })
    } catch (error) {
      reject(isBlockError(error) ? error : connectError(error as NodeJS.ErrnoException, address))
      return
    }
    const settle = (settled: () => void): void => {
      signal?.removeEventListener('abort', abort)
      socket.off('error', fail)
      socket.off('connect', succeed)
      settled()
    }
    const abort = (): void =>
      settle(() => {
        socket.on('error', () => {})
        socket.destroy()
        reject(new BlockError('ETIMEDOUT', `${attemptTo(address)}: ${describeErrorCode('ETIMEDOUT')}`))
      })
    const fail = (error: NodeJS.ErrnoException): void => settle(() => reject(connectError(error, address)))
    const succeed = (): void => settle(() => resolve(socket))
    socket.on('error', fail)
    socket.on('connect', succeed)
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted) abort()
    else if ('fd' in address) succeed()
  })
}

/** `fd`, if it is a socket: reading from anything else might never end. */
function socketDescriptor(fd: number): number {
  if (fstatSync(fd).isSocket()) return fd
  throw new BlockError('EINVAL', `File descriptor '${fd}' is not a socket`)
}

function tcpOptions({ host = 'localhost', port, family }: { host?: string; port: number; family?: 4 | 6 }) {
  return family === undefined ? { host, port } : { host, port, family }
}

function attemptTo(address: SocketAddress): string {
  if ('path' in address) return `Failed to connect to '${address.path}'`
  if ('fd' in address) return `Failed to use the socket ${address.fd}`
  return `Failed to connect to '${address.host ?? 'localhost'}:${address.port}'`
}

function unknownHost(address: SocketAddress): string {
  const place = 'port' in address ? `${address.host ?? ''}:${address.port}` : ''
  return `address resolution failed for ${place}: Name or service not known`
}

function connectError(error: NodeJS.ErrnoException, address: SocketAddress): BlockError {
  // Several addresses of one host fail together; the first one tells why.
  const [first = error] = error instanceof AggregateError ? (error.errors as NodeJS.ErrnoException[]) : []
  const unknown = first.code === 'ENOTFOUND' || first.code === 'EAI_AGAIN'
  const message = unknown ? unknownHost(address) : `${attemptTo(address)}: ${reasonOf(first)}`
  return new BlockError(errorCodeOf(first), message, { cause: error })
}

/** The C library's words for what BlockErrors have no code for. */
const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'Address already in use',
  EADDRNOTAVAIL: 'Cannot assign requested address',
  ECONNREFUSED: 'Connection refused',
  EHOSTUNREACH: 'No route to host',
  ENETUNREACH: 'Network is unreachable',
}

function reasonOf(error: NodeJS.ErrnoException): string {
  const { code } = error
  if (code !== undefined && Object.hasOwn(reasons, code)) return reasons[code] as string
  return errorCodeOf(error) === code ? describeErrorCode(errorCodeOf(error)) : error.message
}

/** First of the descriptors that systemd hands over. */
const firstInherited = 3

/** The descriptors that a service manager has opened for this process (`LISTEN_FDS`), none if it was not started so. */
export function inheritedSockets(environment: NodeJS.ProcessEnv = process.env): readonly number[] {
  const { LISTEN_PID, LISTEN_FDS } = environment
  if (LISTEN_PID !== String(process.pid) || LISTEN_FDS === undefined || !/^\d{1,4}$/.test(LISTEN_FDS)) return []
  return Array.from({ length: Number(LISTEN_FDS) }, (_, i) => firstInherited + i)
}
