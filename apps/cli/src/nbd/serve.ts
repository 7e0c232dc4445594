/** Serves one image. What serves is loaded when it is needed, so that the other programs do not read it. */
import { writeFileSync } from 'node:fs'
import { type Disk, describeErrorCode, errorCodeOf, type Graph } from '@diskgraph/core'
import type { NbdServer, SocketAddress } from '@diskgraph/nbd'
import type { Terminal } from '@diskgraph/tools'
import { type CacheMode, CommandError, cacheMode, hintOf, visible } from '@diskgraph/tools'
import { overlayOn } from '../io/temporary-overlay.ts'
import { openImage, openReason } from '../opening.ts'
import { loadSnapshot } from '../snapshot-source.ts'
import { listenAddress } from './address.ts'
import { authorizerOf, credentialsOf } from './credentials.ts'
import { isForked, tellReady } from './fork.ts'
import type { NbdRequest } from './request.ts'

/** Serves `filename` until the last client has left, or for ever, or until the program is interrupted. */
export async function serve(graph: Graph, filename: string, request: NbdRequest, terminal: Terminal): Promise<void> {
  const [{ allowPromptWrites }, nbd] = await Promise.all([import('@diskgraph/driver-file'), import('@diskgraph/nbd')])
  allowPromptWrites()
  const cache = request.cache ?? (cacheMode('writeback') as CacheMode)
  const authorize = authorizerOf(graph, request)
  const tls = credentialsOf(graph, request, 'server')?.server(authorize)
  const disk = await openDisk(graph, filename, request, cache, terminal.signal)
  let silent = false
  await using server = new nbd.NbdServer(graph, {
    ...(tls === undefined ? {} : { tls }),
    maxConnections: request.shared,
    maxPerAddress: 0,
    handshakeTimeout: request.handshakeLimit * 1000,
    onMessage: (message) => {
      if (!silent) terminal.err(`${terminal.program}: ${visible(message)}\n`)
    },
  })
  await server.exports.add(disk, {
    name: request.exportName ?? '',
    writable: !request.readOnly,
    writethrough: cache.writethrough,
    bitmaps: request.bitmaps,
    allocationDepth: request.allocationDepth,
    ...(request.description === undefined ? {} : { description: request.description }),
  })
  await disk.close()
  for (const address of addresses(request, nbd.inheritedSockets())) await nbd.listen(server, address)
  if (request.pidFile !== undefined) writePid(request.pidFile)
  const left = untilLeft(server, request, terminal.signal)
  if (isForked()) {
    tellReady()
    silent = !request.verbose
  }
  await left
}

/** The sockets that a service manager has opened, or that of the request. */
function addresses(request: NbdRequest, inherited: readonly number[]): readonly SocketAddress[] {
  if (inherited.length === 0) return [listenAddress(request)]
  if (inherited.length > 1) throw new CommandError('qemu-nbd does not support socket activation with LISTEN_FDS > 1')
  const { socket, bind, port } = request
  if (socket !== undefined || bind !== undefined || port !== undefined) {
    throw new CommandError("Unix socket, port and address can't be set when using socket activation")
  }
  return inherited.map((fd) => ({ fd }))
}

function untilLeft(server: NbdServer, { persistent }: NbdRequest, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
    if (signal.aborted) resolve()
    if (!persistent) server.onLeave((left) => left === 0 && resolve())
  })
}

function writePid(path: string): void {
  try {
    writeFileSync(path, `${process.pid}\n`)
  } catch (error) {
    throw new CommandError(`Cannot create pid file '${path}': ${describeErrorCode(errorCodeOf(error))}`)
  }
}

async function openDisk(
  graph: Graph,
  filename: string,
  request: NbdRequest,
  cache: CacheMode,
  signal: AbortSignal,
): Promise<Disk> {
  const { format, imageOpts, readOnly, snapshot, discard, detectZeroes } = request
  let disk: Disk
  try {
    disk = await openImage(graph, {
      filename,
      imageOpts,
      format,
      writable: !readOnly && !snapshot,
      cache,
      options: { ...(discard === undefined ? {} : { discard }), detectZeroes },
      signal,
    })
  } catch (error) {
    const cause = error instanceof CommandError ? (error.cause ?? error) : error
    const hint = hintOf(cause)
    const message = `Failed to blk_new_open '${filename}': ${openReason(cause)}`
    throw new CommandError(message, hint === undefined ? { cause } : { cause, hint })
  }
  if (snapshot) disk = await overlayOn(graph, disk, readOnly, { writethrough: cache.writethrough })
  if (request.loadSnapshot !== undefined) await loadSnapshot(disk, request.loadSnapshot)
  return request.offset === 0 ? disk : await partOf(graph, disk, request)
}

/** The disk from an offset on. */
async function partOf(graph: Graph, disk: Disk, { offset, offsetText, readOnly }: NbdRequest): Promise<Disk> {
  if (offset >= disk.size) throw new CommandError(`Invalid offset '${offsetText}'`)
  const options = { driver: 'raw', offset, readOnly, discard: 'unmap', file: disk.nodeName }
  const part = await graph.addUnchecked(options)
  await disk.close()
  return part
}
