/** A TFTP server for tests, on loopback: serves one file, with the options that it is told to know, and loses what it is told to. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'

/** What a server does otherwise than it should. */
export interface Behaviour {
  /** Which datagrams are not sent, by their count over all. */
  lose?: (count: number) => boolean
  /** How often each datagram is sent. Default 1. */
  copies?: number
  /** Options that it knows. Default: all. */
  knows?: readonly string[]
  /** Its answers to options instead. */
  answers?: Readonly<Record<string, string>>
  /** Sent in place of its first answer. */
  first?: Uint8Array
  /** Sent from another port before each datagram of its own. */
  foreign?: (datagram: Uint8Array) => Uint8Array
  /** Blocks after which it falls silent. */
  silentAfter?: number
  /** Changes what it sends. */
  change?: (datagram: Uint8Array, block: number) => Uint8Array
}

export class TftpServer {
  content: Uint8Array
  behaviour: Behaviour = {}
  /** What clients asked for, with their options. */
  readonly requests: string[][] = []
  /** Errors that clients sent. */
  readonly errors: number[] = []
  /** Datagrams that were sent. */
  sent = 0
  /** How many transfers were confirmed to their end. */
  finished = 0
  readonly #socket: Socket
  readonly #sockets = new Set<Socket>()

  private constructor(content: Uint8Array) {
    this.content = content
    this.#socket = this.#open()
    this.#socket.on('message', (datagram, from) => this.#serve(datagram, from))
  }

  static async start(content: Uint8Array): Promise<TftpServer> {
    const server = new TftpServer(content)
    server.#socket.bind(0, '127.0.0.1')
    await once(server.#socket, 'listening')
    return server
  }

  get url(): string {
    return `tftp://127.0.0.1:${this.#socket.address().port}/disk.img`
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.close()
    this.#sockets.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #open(): Socket {
    const socket = createSocket('udp4')
    this.#sockets.add(socket)
    return socket
  }

  #serve(datagram: Uint8Array, client: RemoteInfo): void {
    const words = Buffer.from(datagram.subarray(2)).toString().split('\0').slice(0, -1)
    this.requests.push(words)
    const [path, , ...rest] = words
    const socket = this.#open()
    const foreign = this.#open()
    const post = (bytes: Uint8Array, block: number): void => {
      if (this.behaviour.foreign !== undefined) foreign.send(this.behaviour.foreign(bytes), client.port, client.address)
      const count = this.sent++
      if (this.behaviour.lose?.(count) === true) return
      const changed = this.behaviour.change?.(bytes, block) ?? bytes
      for (let i = 0; i < (this.behaviour.copies ?? 1); i++) {
        if (this.#sockets.has(socket)) socket.send(changed, client.port, client.address)
      }
    }
    const missing = path === 'disk.img' ? undefined : Buffer.from('\0\x05\0\x01no such\x07 file\0', 'latin1')
    const first = this.behaviour.first ?? missing
    if (first !== undefined) {
      post(first, 0)
      return
    }
    const asked = new Map<string, string>()
    for (let i = 0; i < rest.length; i += 2) asked.set(rest[i] as string, rest[i + 1] as string)
    const known = [...asked].filter(([name]) => this.behaviour.knows?.includes(name) !== false)
    const agreed = new Map(known)
    if (agreed.has('tsize')) agreed.set('tsize', String(this.content.length))
    for (const [name, value] of Object.entries(this.behaviour.answers ?? {})) agreed.set(name, value)
    const blockSize = Number(agreed.get('blksize') ?? 512)
    const window = Number(agreed.get('windowsize') ?? 1)
    const blocks = Math.floor(this.content.length / blockSize) + 1
    const send = (block: number): void => {
      if (block > blocks || block > (this.behaviour.silentAfter ?? Number.POSITIVE_INFINITY)) return
      const head = Buffer.from([0, 3, (block >> 8) & 255, block & 255])
      post(Buffer.concat([head, this.content.subarray((block - 1) * blockSize, block * blockSize)]), block)
    }
    let confirmed = 0
    const goOn = (): void => {
      for (let block = confirmed + 1; block <= confirmed + window; block++) send(block)
    }
    socket.on('message', (answer) => {
      if (answer[1] === 5) this.errors.push(answer.readUInt16BE(2))
      if (answer[1] !== 4) return
      const behind = (answer.readUInt16BE(2) - confirmed + 65536) % 65536
      if (behind <= window) confirmed += behind
      if (confirmed === blocks) this.finished++
      else goOn()
    })
    foreign.on('message', (answer) => void this.errors.push(answer.readUInt16BE(2)))
    if (agreed.size === 0) {
      goOn()
      return
    }
    const options = [...agreed].flat().map((word) => `${word}\0`)
    post(Buffer.from(`\0\x06${options.join('')}`, 'latin1'), 0)
  }
}
