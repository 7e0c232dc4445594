/** A server that does what a test tells it: for clients that meet servers which break the rules. */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectSocket, NbdClient, type NbdClientSettings } from '@diskgraph/nbd'

/** Reads a socket piece by piece. */
export class Peer {
  readonly socket: Socket
  #chunks = Buffer.alloc(0)
  #wake: (() => void) | undefined
  #over = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      this.#chunks = Buffer.concat([this.#chunks, chunk])
      this.#wake?.()
    })
    socket.on('close', () => {
      this.#over = true
      this.#wake?.()
    })
    socket.on('error', () => {})
  }

  async read(length: number): Promise<Buffer> {
    while (this.#chunks.length < length) {
      if (this.#over) throw new Error('the client left')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const bytes = this.#chunks.subarray(0, length)
    this.#chunks = this.#chunks.subarray(length)
    return bytes
  }

  send(...parts: (Buffer | number[])[]): void {
    this.socket.write(Buffer.concat(parts.map((part) => Buffer.from(part))))
  }
}

/** Big-endian integers of the given widths in bytes, by turns with their values. */
export function words(...pairs: (readonly [width: 2 | 4 | 8, value: number | bigint])[]): Buffer {
  return Buffer.concat(
    pairs.map(([width, value]) => {
      const buf = Buffer.alloc(8)
      buf.writeBigUInt64BE(BigInt(value))
      return buf.subarray(8 - width)
    }),
  )
}

/** A server whose connections are handled by `behave`, one after the other counted from 0. */
export class ScriptServer {
  readonly path: string
  readonly #server: Server
  readonly #folder: string
  readonly #sockets = new Set<Socket>()
  connections = 0

  private constructor(folder: string, behave: (peer: Peer, index: number) => Promise<void> | void) {
    this.#folder = folder
    this.path = join(folder, 'socket')
    this.#server = createServer((socket) => {
      this.#sockets.add(socket)
      const peer = new Peer(socket)
      Promise.resolve(behave(peer, this.connections++)).catch(() => socket.destroy())
    })
  }

  static async start(behave: (peer: Peer, index: number) => Promise<void> | void): Promise<ScriptServer> {
    const server = new ScriptServer(await mkdtemp(join(tmpdir(), 'nbd-')), behave)
    await new Promise<void>((resolve) => server.#server.listen(server.path, resolve))
    return server
  }

  client(settings: Partial<NbdClientSettings> = {}): Promise<NbdClient> {
    return NbdClient.connect({ connect: () => connectSocket({ path: this.path }), ...settings })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
    await rm(this.#folder, { recursive: true })
  }
}

/** The greeting of the fixed newstyle. */
export const greeting = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), words([2, 3])])

/** A reply to an option. */
export function optionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([words([8, 0x3e889045565a9n], [4, option], [4, type], [4, data.length]), data])
}

/** What a server tells of an export of 1 MiB with all commands. */
export const exportInfo = words([2, 0], [8, 1048576], [2, 0x0ded])

/** Negotiates in order up to requests; `hook` may answer an option otherwise (true: it has). */
export async function negotiate(
  peer: Peer,
  hook: (option: number, data: Buffer) => boolean = () => false,
  structured = true,
): Promise<void> {
  peer.send(greeting)
  await peer.read(4)
  for (;;) {
    const header = await peer.read(16)
    const option = header.readUInt32BE(8)
    const data = await peer.read(header.readUInt32BE(12))
    if (hook(option, data)) continue
    if (option === 8) peer.send(optionReply(8, structured ? 1 : 0x80000001))
    else if (option === 10) {
      peer.send(optionReply(10, 4, Buffer.concat([words([4, 7]), Buffer.from('base:allocation')])))
      peer.send(optionReply(10, 1))
    } else if (option === 7) {
      peer.send(optionReply(7, 3, exportInfo), optionReply(7, 1))
      return
    } else peer.send(optionReply(option, 0x80000001))
  }
}

/** A request of a client. */
export interface WireRequest {
  readonly flags: number
  readonly command: number
  readonly cookie: Buffer
  readonly offset: number
  readonly length: number
}

/** The next request. */
export async function nextRequest(peer: Peer): Promise<WireRequest> {
  const header = await peer.read(28)
  const request = {
    flags: header.readUInt16BE(4),
    command: header.readUInt16BE(6),
    cookie: Buffer.from(header.subarray(8, 16)),
    offset: Number(header.readBigUInt64BE(16)),
    length: header.readUInt32BE(24),
  }
  if (request.command === 1) await peer.read(request.length)
  return request
}

/** A simple reply. */
export function simpleReply(cookie: Buffer, error = 0): Buffer {
  return Buffer.concat([words([4, 0x67446698], [4, error]), cookie])
}

/** A chunk of a structured reply; `length` other than the payload's is a lie. */
export function chunk(
  cookie: Buffer,
  type: number,
  payload: Buffer = Buffer.alloc(0),
  last = true,
  length: number = payload.length,
): Buffer {
  return Buffer.concat([words([4, 0x668e33ef], [2, last ? 1 : 0], [2, type]), cookie, words([4, length]), payload])
}
