/** Servers and clients on the sockets of Node: unix sockets, TCP, and descriptors that were inherited. */
import { chmodSync, existsSync, fstatSync, lstatSync, unlinkSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, Socket } from 'node:net'
import { dirname } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { BlockError, delay, describeErrorCode, errorCodeOf, isBlockError, systemClock } from '@diskgraph/core/driver'
import { kindOf } from '@diskgraph/core/internal'
import type { NbdServer } from '../server/server.ts'

/** Where a server listens, or a client connects to. */
export type SocketAddress =
  | { readonly path: string }
  | { readonly host?: string; readonly port: number; readonly family?: 4 | 6 }
  /** A socket that the process has inherited. */
  | { readonly fd: number }

/** Bytes of the path of a unix socket: those of `sun_path`, with a zero behind them. */
const longestPath = 107

/** Clients that may wait to be accepted; the system may allow fewer. */
const longestQueue = 4096

/** Milliseconds between attempts to get into the queue of a socket. */
const queuePause = 20

/** A listening socket of a server. */
export interface NbdListener {
  /** Where it listens; the port that was found for port 0. */
  readonly address: SocketAddress
  /** Accepts no more clients; those that are there stay. */
  close(): Promise<void>
}

/**
 * Lets `server` serve the clients that come to `address`; ends with the server. A socket file is for its owner alone. One
 * at which nobody listens any more is replaced, anything else of that name is not: EADDRINUSE and its kin are BlockErrors
 * with QEMU's words. ENODEV when the server is closed, now or meanwhile.
 */
export async function listen(server: NbdServer, address: SocketAddress): Promise<NbdListener> {
  checkAddress(address)
  if ('path' in address) await claimSocketPath(address.path)
  if (server.closed) throw closedError(address)
  const listener = createServer({ pauseOnConnect: true, noDelay: true }, (socket) =>
    server.accept(socket, socket.remoteAddress),
  )
  await start(listener, address)
  const close = (): Promise<void> => new Promise((resolve) => listener.close(() => resolve()))
  server.closeWith(close)
  if (server.closed) throw closedError(address)
  return { address: boundAddress(listener, address), close }
}

function closedError(address: SocketAddress): BlockError {
  return new BlockError('ENODEV', `${attemptToListen(address)}: the server is closed`)
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
    if ('path' in address) listenPrivately(listener, address.path)
    else if ('fd' in address) listener.listen({ fd: address.fd })
    else listener.listen({ port: address.port, host: address.host ?? '0.0.0.0', backlog: longestQueue })
  })
}

/** Lets `listener` listen at a socket's file that is for its owner alone, from the moment on in which it is made. */
export function listenPrivately(listener: Server, path: string): void {
  // A worker has no mask of its own.
  const mask = isMainThread ? process.umask(0o177) : undefined
  try {
    listener.listen({ path, backlog: longestQueue })
    if (mask === undefined && listener.listening) chmodSync(path, 0o600)
  } finally {
    if (mask !== undefined) process.umask(mask)
  }
}

function checkAddress(address: unknown): asserts address is SocketAddress {
  const { path, host, port, fd } = Object(address) as Readonly<Record<string, unknown>>
  const isPort = Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65535
  if (path !== undefined) {
    if (typeof path === 'string' && path !== '' && !path.includes('\0')) return
    throw new BlockError('EINVAL', 'the path of a unix socket is a text of at least one character, none of them zero')
  }
  if (Number.isSafeInteger(fd) && (fd as number) >= 0) return
  if (isPort && (host === undefined || typeof host === 'string')) return
  throw new BlockError('EINVAL', `an address is { path }, { host, port } or { fd }, not ${kindOf(address)}`, {
    hint: 'a port is a number from 0 to 65535, a descriptor a number from 0 on',
  })
}

function boundAddress(listener: Server, address: SocketAddress): SocketAddress {
  if (!('port' in address)) return address
  return { ...address, port: (listener.address() as AddressInfo).port }
}

/** Throws EINVAL for a path of a unix socket that is too long: it would be cut, without a word, to another one. */
function refuseLongPath(path: string): void {
  if (Buffer.byteLength(path) <= longestPath) return
  throw new BlockError('EINVAL', `UNIX socket path '${path}' is too long`, {
    hint: `Path must be less than ${longestPath + 1} bytes`,
  })
}

/**
 * Makes way for a unix socket at `path`: removes one that nobody listens at any more. EBUSY when somebody does, EEXIST
 * for anything else of that name, EINVAL for a path that is too long.
 */
export async function claimSocketPath(path: string): Promise<void> {
  refuseLongPath(path)
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) throw new BlockError('EEXIST', `'${path}' is there and is no socket`)
  if (await isListened(path)) {
    throw new BlockError('EBUSY', `Failed to bind socket to ${path}: Address already in use`, {
      hint: 'another server answers there: end it, or choose another path',
    })
  }
  unlinkSync(path)
}

function isListened(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'))
  })
}

function listenError(error: NodeJS.ErrnoException, address: SocketAddress): BlockError {
  // The system's own error is hidden where the directory is missing.
  const missing = 'path' in address && error.code === 'EACCES' && !existsSync(dirname(address.path))
  const reason = missing ? describeErrorCode('ENOENT') : reasonOf(error)
  const attempt = attemptToListen(address)
  const unknown = error.code === 'ENOTFOUND' || error.code === 'EAI_AGAIN'
  const message = unknown ? unknownHost(address) : `${attempt}: ${reason}`
  return new BlockError(errorCodeOf(error), message, { cause: error })
}

function attemptToListen(address: SocketAddress): string {
  return 'path' in address ? `Failed to bind socket to ${address.path}` : 'Failed to find an available port'
}

/**
 * Connects to a server; waits, until `signal`, for room in the queue of a unix socket. The errors are BlockErrors with
 * QEMU's words.
 */
export async function connectSocket(address: SocketAddress, signal?: AbortSignal): Promise<Socket> {
  checkAddress(address)
  for (;;) {
    try {
      return await connectOnce(address, signal)
    } catch (error) {
      // A socket that does not block, as all of Node's, is not let into a queue that is full.
      if (errorCodeOf(error) !== 'EAGAIN') throw error
      await delay(systemClock, queuePause, signal).catch(() => {})
    }
  }
}

function connectOnce(address: SocketAddress, signal?: AbortSignal): Promise<Socket> {
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
