/** A connection to a server, and the calls of SFTP as promises. */
import { userInfo } from 'node:os'
import {
  BlockError,
  type Clock,
  type ErrorCode,
  isBlockError,
  portNumber,
  throwIfAborted,
  unlessAborted,
} from '@diskgraph/core/driver'
import ssh2, { type AnyAuthMethod, type Client, type SFTPWrapper } from 'ssh2'
import { Calls } from './calls.ts'
import { hostKeyVerifier } from './host-key.ts'
import { authMethods } from './identities.ts'
import { type SshOptions, serverOf } from './options.ts'

/** Milliseconds until a server must have let us in. */
const readyTimeout = 20_000
/** A server that answers none of three questions, one every so many milliseconds, is gone. */
const keepAlive = 5_000

/** Codes of draft-ietf-secsh-filexfer-02, 7. */
const codes: Readonly<Record<number, ErrorCode>> = { 2: 'ENOENT', 3: 'EACCES', 7: 'ECONNRESET', 8: 'ENOTSUP' }

/** Where a connection is opened: a part of the context of its node. */
interface Surroundings {
  readonly clock: Clock
  readonly signal?: AbortSignal | undefined
}

/** A connection with an SFTP channel. When it is lost, every call fails and goes on failing. */
export class Connection {
  readonly sftp: SFTPWrapper
  readonly #client: Client
  readonly #calls: Calls

  private constructor(client: Client, calls: Calls, sftp: SFTPWrapper) {
    this.#client = client
    this.#calls = calls
    this.sftp = sftp
    sftp.on('close', () => calls.lose('the server has closed the channel'))
  }

  /** Logs in. Throws, with QEMU's texts, where that is refused. */
  static async open(options: SshOptions, { clock, signal }: Surroundings): Promise<Connection> {
    throwIfAborted(signal)
    const server = serverOf(options)
    const { host } = server
    const port = portNumber(host, server.port)
    const username = options.user ?? userInfo().username
    const verifier = await hostKeyVerifier(options.hostKeyCheck ?? { mode: 'known_hosts' }, host, port)
    const methods = await authMethods(username, ssh2.utils)
    let refused: unknown
    const hostVerifier = (key: Buffer): boolean => {
      try {
        verifier.verify(key)
        return true
      } catch (error) {
        refused = error
        return false
      }
    }
    // Errors that come after the first one are no news.
    const client = new ssh2.Client().on('error', () => {})
    try {
      const ready = new Promise<void>((resolve, reject) => {
        client.once('ready', resolve)
        client.once('error', reject)
        client.once('close', () => reject(new Error('the server has closed the connection')))
        client.connect({
          host,
          port,
          username,
          readyTimeout,
          keepaliveInterval: keepAlive,
          hostVerifier,
          authHandler: (left, _partial, next) => next(nextMethod(methods, left) as AnyAuthMethod),
          // In this order: one that is listed already is not put in front.
          algorithms: { serverHostKey: { remove: verifier.preferred, prepend: verifier.preferred } as never },
        })
      })
      await unlessAborted(ready, signal)
      const calls = new Calls(clock, () => client.destroy())
      client.on('error', (error) => calls.lose(error.message))
      client.on('close', () => calls.lose('the server has closed the connection'))
      const channel = calls.begin<SFTPWrapper>(
        (done) => client.sftp(done),
        (error) => error,
      )
      return new Connection(client, calls, await unlessAborted(channel, signal))
    } catch (error) {
      client.destroy()
      throw refused ?? connectError(error, host, port)
    }
  }

  /** One call; `about` begins the message of its error. */
  call<T>(about: string, begin: (done: (error: Error | undefined | null, result: T) => void) => void): Promise<T> {
    const isAnswer = (error: Error): boolean => typeof (error as { code?: unknown }).code === 'number'
    return this.#calls.begin(begin, (error) => (isAnswer(error) ? sftpError(error, about) : undefined))
  }

  openFile(path: string, flags: 'r' | 'r+' | 'w'): Promise<Buffer> {
    return this.call(`failed to open remote file '${path}'`, (done) =>
      this.sftp.open(path, flags, 0o644 as never, done),
    )
  }

  resize(handle: Buffer, path: string, size: number): Promise<void> {
    return this.call(`could not resize '${path}'`, (done) =>
      this.sftp.fsetstat(handle, { size } as never, done as never),
    )
  }

  /** Brings what was written to stable storage; false where the server cannot. */
  async sync(handle: Buffer, path: string): Promise<boolean> {
    try {
      await this.call<void>(`could not flush '${path}'`, (done) => this.sftp.ext_openssh_fsync(handle, done as never))
      return true
    } catch (error) {
      // Thrown before anything is sent.
      if (error instanceof Error && error.message === 'Server does not support this extended request') return false
      throw error
    }
  }

  closeFile(handle: Buffer, path: string): Promise<void> {
    return this.call(`could not close '${path}'`, (done) => this.sftp.close(handle, done as never))
  }

  close(): void {
    this.#calls.lose('the connection has been closed')
    this.#client.end()
  }
}

function nextMethod<T extends { type: string }>(methods: T[], left: readonly string[] | null): T | false {
  for (let method = methods.shift(); method !== undefined; method = methods.shift()) {
    const name = method.type === 'agent' ? 'publickey' : method.type
    if (name === 'none' || left === null || left.includes(name)) return method
  }
  return false
}

function connectError(error: unknown, host: string, port: number): unknown {
  if (!(error instanceof Error) || isBlockError(error)) return error
  const { level, code } = error as { level?: string; code?: string }
  if (level === 'client-authentication') {
    const message = 'failed to authenticate using publickey authentication and the identities held by your ssh-agent'
    const hint = 'ssh-add a key that the server knows; key files with a passphrase are not asked for it'
    return new BlockError('EACCES', message, { cause: error, hint })
  }
  const reason = code === 'ECONNREFUSED' ? 'Connection refused' : error.message
  return new BlockError('EIO', `Failed to connect to '${host}:${port}': ${reason}`, { cause: error })
}

/** An error of SFTP. The message of the server is shown, for it is all there is. */
function sftpError(error: Error, about: string): BlockError {
  const { code } = error as unknown as { code: number }
  return new BlockError(codes[code] ?? 'EIO', `${about}: ${error.message}`, { cause: error })
}
