/** The control connection of FTP (RFC 959, 4.2): lines out, answers in, one command at a time. */
import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { BlockError } from '@diskgraph/core/driver'
import { Interruption, networkError } from '@diskgraph/remote'
import type { FtpSettings } from './options.ts'

/** An answer; its lines are one text. */
export interface Answer {
  readonly code: number
  readonly text: string
}

/** Longest answer in characters. */
const longestAnswer = 16 * 1024

/** See the top of the file. When it is lost, everything that waits fails, and goes on failing. */
export class Control {
  readonly #settings: FtpSettings
  #socket: Socket
  #received = ''
  /** Of an answer whose last line is still to come. */
  #code: string | undefined
  #text = ''
  readonly #answers: Answer[] = []
  #waiting: { resolve(answer: Answer): void; reject(error: unknown): void } | undefined
  #failure: unknown
  /** The newest ticket of TLS 1.3, by which servers know that a data connection is ours. */
  #ticket: Buffer | undefined
  readonly #ready: Promise<void>

  /** Begins to connect; {@link ready} tells when it stands. */
  constructor(settings: FtpSettings) {
    this.#settings = settings
    const { host, port } = settings
    this.#socket = connect({ host, port, noDelay: true, autoSelectFamily: true })
    this.#ready = this.#listen(this.#socket, 'connect')
    if (settings.tls === 'implicit') this.#ready = this.#ready.then(() => this.secure())
  }

  ready(): Promise<void> {
    return this.#ready
  }

  /** The address that the server has been reached at. */
  get address(): string {
    return this.#socket.remoteAddress ?? this.#settings.host
  }

  /** Whether the server may be sent a command. */
  get isOpen(): boolean {
    return this.#failure === undefined
  }

  /** Puts TLS on the connection. What came before it is refused: anybody may have written that. */
  async secure(): Promise<void> {
    if (this.#received !== '' || this.#answers.length > 0) {
      throw new BlockError('EIO', 'the server sent something between its consent to TLS and TLS')
    }
    const plain = this.#socket
    plain.removeAllListeners('data')
    const socket = connectTls({ ...this.tlsOptions(), socket: plain })
    socket.on('session', (ticket) => {
      this.#ticket = ticket
    })
    this.#socket = socket
    await this.#listen(socket, 'secureConnect')
  }

  /** Options of TLS to this server; those of a data connection resume the session of this one. */
  tlsOptions(): ConnectionOptions {
    const { host, sslverify, ca } = this.#settings
    const named = /^[\d.]+$|:/.test(host) ? {} : { servername: host }
    const session = this.#ticket ?? (this.#socket as TLSSocket).getSession?.()
    return { host, ...named, rejectUnauthorized: sslverify, ca, ...(session === undefined ? {} : { session }) }
  }

  /** Sends a line. */
  send(line: string): void {
    const unasked = this.#answers.shift()
    if (unasked !== undefined) {
      const error = new BlockError('ECONNRESET', `the server says without being asked: ${shown(unasked)}`)
      this.destroy(new Interruption(error, { stale: true }))
    }
    if (this.isOpen) this.#socket.write(`${line}\r\n`)
  }

  /** The next answer. */
  answer(): Promise<Answer> {
    const answer = this.#answers.shift()
    if (answer !== undefined) return Promise.resolve(answer)
    if (!this.isOpen) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
  }

  /** Ends the connection; what waits, and what comes after, fails with `reason`. */
  destroy(reason: unknown): void {
    this.#failure ??= reason
    this.#waiting?.reject(this.#failure)
    this.#waiting = undefined
    this.#socket.destroy()
  }

  #listen(socket: Socket, ready: 'connect' | 'secureConnect'): Promise<void> {
    socket.on('data', (chunk) => this.#receive(chunk.toString('latin1')))
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        this.destroy(networkError(error, this.#settings.url.host))
        reject(this.#failure)
      }
      socket.on('error', fail)
      socket.on('close', () => fail(lost('the server has closed the connection')))
      socket.once(ready, () => resolve())
    })
  }

  #receive(text: string): void {
    const lines = (this.#received + text).split('\n')
    this.#received = lines.pop() as string
    for (const line of lines) if (this.isOpen) this.#takeLine(line.replace(/\r$/, ''))
    if (this.#received.length + this.#text.length > longestAnswer) this.#refuse()
  }

  /** An answer of several lines begins with `123-` and ends with a line that begins with `123 `. */
  #takeLine(line: string): void {
    const [, code, more] = /^(\d{3})([- ]|$)/.exec(line) ?? []
    this.#text += `${this.#text === '' ? '' : ' '}${line}`
    if (this.#code === undefined) {
      if (more === '-') this.#code = code
      if (code === undefined) this.#refuse()
      if (code === undefined || more === '-') return
    } else if (!line.startsWith(`${this.#code} `)) return
    const answer = { code: Number(this.#code ?? code), text: this.#text }
    this.#code = undefined
    this.#text = ''
    this.#take(answer)
  }

  #take(answer: Answer): void {
    const { resolve } = this.#waiting ?? {}
    this.#waiting = undefined
    if (resolve !== undefined) resolve(answer)
    else if (this.#answers.push(answer) > 16) this.#refuse()
  }

  #refuse(): void {
    this.#received = ''
    this.destroy(new BlockError('EIO', "the server's answer is not FTP"))
  }
}

/** The error of a connection that is gone. */
export function lost(how: string): Interruption {
  return new Interruption(new BlockError('ECONNRESET', how))
}

/** An answer for people: what servers say may hold anything. */
export function shown({ text }: Answer): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
}
