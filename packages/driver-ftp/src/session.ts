/**
 * One login on a server. It sends one file at a time, from some place on to its end, over a connection that is made for it
 * (RFC 959, 5.3; RFC 3659 for SIZE, MDTM and REST; RFC 2428 for EPSV; RFC 4217 for TLS).
 *
 * There is no command for a part of a file. The stream of one that is being sent stays open when enough has been read: the
 * server waits then, and whoever reads next goes on from there. Who wants another place closes the connection; the
 * server's answer to that is read before the next command.
 */
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { BlockError, type ErrorCode } from '@diskgraph/core/driver'
import { type Cursor, Interruption, networkError, type Watchdog } from '@diskgraph/remote'
import { type Answer, Control, lost, shown } from './control.ts'
import type { FtpSettings } from './options.ts'

/** What is known of a file. */
export interface FileVersion {
  /** In bytes. */
  readonly size: number
  /** When it was changed, as the server says it; undefined where it does not. */
  readonly changed: string | undefined
}

/** A file on its way. */
interface Stream {
  readonly socket: Socket
  readonly chunks: AsyncIterator<Uint8Array>
  position: number
  /** What has come and was not wanted yet. */
  rest: Uint8Array
}

const noRest = new Uint8Array(0)

/** See the top of the file. Every failure of it is the end of it: {@link destroy} it then. */
export class Session {
  readonly #settings: FtpSettings
  readonly #control: Control
  #watchdog: Watchdog
  #stream: Stream | undefined
  #passive: 'EPSV' | 'PASV' = 'EPSV'
  #tellsDate = true

  private constructor(settings: FtpSettings, control: Control, watchdog: Watchdog) {
    this.#settings = settings
    this.#control = control
    this.#watchdog = watchdog
  }

  /** Connects and logs in. EACCES where that is refused. */
  static open(settings: FtpSettings, watchdog: Watchdog): Promise<Session> {
    const control = new Control(settings)
    const session = new Session(settings, control, watchdog)
    return session.work(watchdog, async () => {
      watchdog.expect('connecting takes too long', settings.connectTimeout)
      await control.ready()
      await session.#logIn()
      return session
    })
  }

  /** Where the file that is being sent has come to; undefined where none is. */
  get position(): number | undefined {
    return this.#stream?.position
  }

  get isOpen(): boolean {
    return this.#control.isOpen
  }

  /** Does something with the session in the time that `watchdog` allows. When that fails the session has ended. */
  async work<T>(watchdog: Watchdog, task: () => Promise<T>): Promise<T> {
    const { signal } = watchdog
    const abort = (): void => this.destroy(signal.reason)
    this.#watchdog = watchdog
    signal.addEventListener('abort', abort)
    try {
      if (signal.aborted) throw signal.reason
      return await task()
    } catch (error) {
      this.destroy(error)
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** Asks for size and date of the file. ENOENT where there is none. */
  async version(): Promise<FileVersion> {
    const { path } = this.#settings
    const size = await this.#ask(`SIZE ${path}`)
    if (size.code === 550) throw new BlockError('ENOENT', 'The file does not exist', { hint: shown(size) })
    const digits = /^213 +(\d+)\s*$/.exec(size.text)?.[1]
    if (digits === undefined) throw refusal(size, "Server didn't report file size.", 'ENOTSUP')
    if (!Number.isSafeInteger(Number(digits))) throw new BlockError('EFBIG', 'the file on the server is too large')
    return { size: Number(digits), changed: await this.#dateOf(path) }
  }

  /** Moves the bytes of a file of `size` bytes to the cursor's sink, until that has what it wants. */
  async read(cursor: Cursor, size: number): Promise<void> {
    const stream = this.#stream ?? (await this.#retrieve(cursor.at))
    this.#stream = stream
    this.#watchdog.expect('the server stopped sending', this.#settings.idleTimeout)
    while (cursor.at < cursor.end) {
      const chunk = stream.rest.length > 0 ? stream.rest : await this.#next(stream)
      if (chunk === undefined) throw await this.#endedEarly(size - stream.position)
      const wanted = Math.min(chunk.length, cursor.end - cursor.at)
      stream.rest = chunk.subarray(wanted)
      stream.position += wanted
      cursor.sink(cursor.at, chunk.subarray(0, wanted))
      cursor.at += wanted
    }
    if (stream.position >= size) await this.#finish(stream)
  }

  /** Ends the file that is being sent. */
  async stop(): Promise<void> {
    if (this.#stream === undefined) return
    this.#stream.socket.destroy()
    this.#stream = undefined
    // Whether it had sent all of it already or not: it is at rest again.
    const answer = await this.#answer()
    if (answer.code === 421) throw refusal(answer, 'the server ends the session')
  }

  /** Ends it without a word; all that it does fails with `reason`. */
  destroy(reason: unknown): void {
    this.#control.destroy(reason)
    this.#stream?.socket.destroy()
  }

  async #logIn(): Promise<void> {
    const { username, password, tls } = this.#settings
    let greeting = await this.#answer()
    // The server asks to wait.
    while (greeting.code === 120) greeting = await this.#answer()
    if (greeting.code !== 220) throw refusal(greeting, 'the server lets nobody in')
    if (tls === 'explicit') {
      const consent = await this.#ask('AUTH TLS')
      if (consent.code !== 234) throw refusal(consent, 'the server does not speak TLS', 'EACCES')
      await this.#control.secure()
    }
    let answer = await this.#ask(`USER ${username}`)
    if (answer.code === 331) answer = await this.#ask(`PASS ${password}`)
    if (answer.code !== 230 && answer.code !== 202) {
      // Without the text of the server, which may repeat what it was told.
      const hint = 'give username and password-secret, or other ones'
      const error = new BlockError('EACCES', `Access denied: ${answer.code}`, { hint })
      throw answer.code < 500 ? new Interruption(error) : error
    }
    if (tls !== 'none') {
      await this.#must('PBSZ 0', 200)
      await this.#must('PROT P', 200)
    }
    await this.#must('TYPE I', 200)
  }

  async #dateOf(path: string): Promise<string | undefined> {
    if (!this.#tellsDate) return undefined
    const answer = await this.#ask(`MDTM ${path}`)
    const date = /^213 +([\d.]+)\s*$/.exec(answer.text)?.[1]
    this.#tellsDate = date !== undefined
    return date
  }

  /** Makes the server send the file from `offset` on. */
  async #retrieve(offset: number): Promise<Stream> {
    const socket = await this.#openData()
    try {
      if (offset > 0) await this.#must(`REST ${offset}`, 350)
      const answer = await this.#ask(`RETR ${this.#settings.path}`)
      if (answer.code === 550) throw new BlockError('ENOENT', 'The file does not exist', { hint: shown(answer) })
      if (answer.code !== 150 && answer.code !== 125) throw refusal(answer, 'the server does not send the file')
      const source = this.#settings.tls === 'none' ? socket : await this.#secure(socket)
      return { socket: source, chunks: chunksOf(source), position: offset, rest: noRest }
    } catch (error) {
      socket.destroy()
      throw error
    }
  }

  async #openData(): Promise<Socket> {
    const port = await this.#dataPort()
    this.#watchdog.expect('connecting for data takes too long', this.#settings.connectTimeout)
    // To the server itself, whatever address an answer to PASV says: it is not to send us anywhere else.
    const socket = connect({ host: this.#control.address, port })
    await this.#standing(socket, 'connect')
    return socket
  }

  async #dataPort(): Promise<number> {
    if (this.#passive === 'EPSV') {
      const answer = await this.#ask('EPSV')
      const port = Number(/\((.)\1\1(\d{1,5})\1\)/.exec(answer.text)?.[2])
      if (answer.code === 229 && port > 0 && port < 65536) return port
      if (answer.code < 500) throw refusal(answer, 'the server opens no connection for data')
      this.#passive = 'PASV'
    }
    const answer = await this.#ask('PASV')
    const numbers = /(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})/.exec(answer.text)
    const port = Number(numbers?.[5]) * 256 + Number(numbers?.[6])
    if (answer.code === 227 && port > 0 && port < 65536) return port
    throw refusal(answer, 'the server opens no connection for data')
  }

  async #secure(plain: Socket): Promise<Socket> {
    const socket = connectTls({ ...this.#control.tlsOptions(), socket: plain })
    await this.#standing(socket, 'secureConnect')
    return socket
  }

  async #standing(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
    const { signal } = this.#watchdog
    const abort = (): void => void socket.destroy(signal.reason)
    signal.addEventListener('abort', abort)
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once(event, () => resolve())
        socket.once('close', () => reject(lost('the server has closed the connection for data')))
        // Later ones come out of the loop over its chunks.
        socket.on('error', (error) => reject(networkError(error, this.#settings.url.host)))
        if (signal.aborted) abort()
      })
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  async #next(stream: Stream): Promise<Uint8Array | undefined> {
    try {
      const { done, value } = await stream.chunks.next()
      this.#watchdog.moved()
      return done ? undefined : value
    } catch (error) {
      throw networkError(error, this.#settings.url.host)
    }
  }

  /** The stream has ended: the server says why. */
  async #endedEarly(missing: number): Promise<unknown> {
    this.#stream = undefined
    const answer = await this.#answer()
    return lost(`the server ended the file ${missing} bytes too early (${shown(answer)})`)
  }

  /** All bytes are there: there must be no more, and the server must say that these were all. */
  async #finish(stream: Stream): Promise<void> {
    if (stream.rest.length > 0 || (await this.#next(stream)) !== undefined) {
      const hint = 'it has grown, or the server does not begin where REST says'
      throw new BlockError('EIO', 'the server sends more than the file has', { hint })
    }
    this.#stream = undefined
    const answer = await this.#answer()
    if (answer.code !== 226 && answer.code !== 250) throw refusal(answer, 'the server failed to send all of the file')
  }

  async #must(line: string, code: number): Promise<void> {
    const answer = await this.#ask(line)
    if (answer.code !== code) throw refusal(answer, `the server refuses ${line}`, 'ENOTSUP')
  }

  #ask(line: string): Promise<Answer> {
    this.#control.send(line)
    return this.#answer()
  }

  #answer(): Promise<Answer> {
    this.#watchdog.expect('the server does not answer', this.#settings.idleTimeout)
    return this.#control.answer()
  }
}

/** The error of an answer: those of 400 to 499 may pass. */
function refusal(answer: Answer, what: string, code: ErrorCode = 'EIO'): BlockError | Interruption {
  const error = new BlockError(code, `${what} (${shown(answer)})`)
  if (answer.code >= 400 && answer.code < 500) return new Interruption(error)
  return error
}

/** The bytes of a socket, which is not destroyed when nobody asks for more. */
function chunksOf(socket: Socket): AsyncIterator<Uint8Array> {
  return socket.iterator({ destroyOnReturn: false })
}
