/** An FTP server for tests, on loopback: serves one file, and behaves badly on request. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, TLSSocket, type TLSSocketOptions } from 'node:tls'

/** Answers a command in place of the server's own way; undefined to let the server go on. `data` is the open connection. */
export type Behaviour = (command: string, argument: string, session: ServedSession) => string | undefined

/** What a behaviour may do to a session. */
export interface ServedSession {
  readonly control: Socket
  readonly data: Socket | undefined
  /** Where RETR begins. */
  readonly rest: number
}

export interface FtpServerSettings {
  readonly content: Uint8Array
  readonly password?: string
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer }
  readonly implicit?: boolean
}

/** The options of a server, as a test changes them. */
export class FtpServer {
  content: Uint8Array
  changed = '20260101000000'
  behaviour: Behaviour | undefined
  /** What is written for a RETR, in place of the file from its place on. */
  body: ((from: number) => Uint8Array) | undefined
  /** Bytes of a file after which nothing more comes; the connection stays open. */
  stallAfter = Number.POSITIVE_INFINITY
  readonly commands: string[] = []
  sessions = 0
  readonly #settings: FtpServerSettings
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(settings: FtpServerSettings) {
    this.#settings = settings
    this.content = settings.content
    this.#server = createServer((socket) => this.#serve(socket))
  }

  static async start(settings: FtpServerSettings): Promise<FtpServer> {
    const server = new FtpServer(settings)
    server.#server.listen(0, '127.0.0.1')
    await once(server.#server, 'listening')
    return server
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    const protocol = this.#settings.tls === undefined ? 'ftp' : 'ftps'
    return `${protocol}://127.0.0.1:${this.port}/disk.img`
  }

  /** Ends all connections that are open now. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    this.#server.close()
    this.cut()
    await once(this.#server, 'close')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #secure(socket: Socket): Socket {
    const { tls } = this.#settings
    const options: TLSSocketOptions = { isServer: true, secureContext: createSecureContext(tls) }
    return this.#keep(new TLSSocket(socket, options))
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => undefined)
    return socket
  }

  #serve(plain: Socket): void {
    this.sessions++
    let control = this.#keep(plain)
    if (this.#settings.implicit) control = this.#secure(control)
    let listener: Server | undefined
    let data: Socket | undefined
    let rest = 0
    let loggedIn = this.#settings.password === undefined
    const open = async (): Promise<number> => {
      listener?.close()
      listener = createServer((socket) => {
        data = this.#keep(socket)
      }).listen(0, '127.0.0.1')
      await once(listener, 'listening')
      return (listener.address() as AddressInfo).port
    }
    const say = (text: string): void => void control.write(`${text}\r\n`)
    const retrieve = async (): Promise<void> => {
      while (data === undefined) await new Promise((resolve) => setImmediate(resolve))
      let socket = data
      data = undefined
      listener?.close()
      say('150 here it comes')
      if (this.#settings.tls !== undefined) socket = this.#secure(socket)
      const bytes = this.body?.(rest) ?? this.content.subarray(rest)
      rest = 0
      if (bytes.length > this.stallAfter) {
        socket.write(bytes.subarray(0, this.stallAfter))
        return
      }
      socket.end(bytes)
      socket.on('close', () => say(socket.errored ? '426 broken' : '226 that was all'))
    }
    const own: Record<string, (argument: string) => string | undefined | Promise<string | undefined>> = {
      USER: () => (this.#settings.password === undefined ? '230 in' : '331 password'),
      PASS: (given) => {
        loggedIn = given === this.#settings.password
        return loggedIn ? '230-in\r\n230-of many lines\r\n226 not the last\r\n230 done' : '530 no'
      },
      TYPE: () => '200 ok',
      PBSZ: () => '200 ok',
      PROT: () => '200 ok',
      AUTH: () => (this.#settings.tls === undefined ? '502 no' : '234 go'),
      SIZE: (path) => (path === 'disk.img' ? `213 ${this.content.length}` : '550 no such file'),
      MDTM: () => `213 ${this.changed}`,
      EPSV: async () => `229 passive (|||${await open()}|)`,
      PASV: async () => {
        const port = await open()
        // Another address, where nobody is to be sent.
        return `227 passive (192,0,2,1,${port >> 8},${port & 255})`
      },
      REST: (offset) => {
        rest = Number(offset)
        return '350 from there'
      },
      RETR: async () => {
        void retrieve()
        return undefined
      },
    }
    const handle = async (line: string): Promise<void> => {
      this.commands.push(line)
      const [, command = '', argument = ''] = /^(\S+) ?(.*)$/.exec(line) ?? []
      const answer = this.behaviour?.(command, argument, { control, data, rest })
      if (answer !== undefined) {
        if (answer !== '') say(answer)
        return
      }
      if (!loggedIn && !['USER', 'PASS', 'AUTH', 'PBSZ', 'PROT'].includes(command)) return say('530 log in first')
      const mine = await (own[command]?.(argument) ?? (command in own ? undefined : '500 what?'))
      if (mine !== undefined) say(mine)
      if (command === 'AUTH' && mine?.startsWith('234')) {
        plain.removeAllListeners('data')
        control = this.#secure(plain)
        listen()
      }
    }
    let queue = Promise.resolve()
    const listen = (): void => {
      let received = ''
      control.on('data', (chunk) => {
        const lines = (received + chunk.toString()).split('\r\n')
        received = lines.pop() as string
        for (const line of lines) queue = queue.then(() => handle(line))
      })
    }
    listen()
    control.on('close', () => listener?.close())
    const greeting = this.behaviour?.('', '', { control, data, rest }) ?? '220 welcome'
    if (greeting !== '') say(greeting)
  }
}
