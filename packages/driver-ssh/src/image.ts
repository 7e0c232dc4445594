/** The image of an `ssh` node: a file on a server, by SFTP. */
import {
  BlockError,
  type CreateContext,
  isBlockError,
  type OpenContext,
  type OpenImage,
  systemClock,
  unlessAborted,
} from '@diskgraph/core/driver'
import type { Stats } from 'ssh2'
import { Connection } from './connection.ts'
import { formatFilename } from './names.ts'
import type { SshCreateOptions, SshOptions } from './options.ts'

/** Bytes of one message: OpenSSH takes 255 KiB; several are on their way at once. */
const longestMessage = 2 ** 17
const longestTransfer = 2 ** 24

class SshImage implements OpenImage {
  readonly identity: string
  readonly limits = { maxTransfer: longestTransfer }
  readonly zeroInit = true
  readonly write?: OpenImage['write']
  readonly truncate?: OpenImage['truncate']
  size: number
  readonly #connection: Connection
  readonly #handle: Buffer
  readonly #path: string
  #warn: ((message: string) => void) | undefined

  constructor(connection: Connection, handle: Buffer, size: number, context: OpenContext) {
    const options = context.options as unknown as SshOptions
    this.#connection = connection
    this.#handle = handle
    this.#path = options.path
    this.size = size
    this.identity = formatFilename({ ...options, hostKeyCheck: undefined })
    this.#warn = (message) => context.warn(message)
    if (context.readOnly) return
    this.write = this.#write
    this.truncate = this.#truncate
  }

  async read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    // Answers of requests that were given up must not come into a buffer that is its owner's again.
    const own = signal === undefined ? buf : new Uint8Array(buf.length)
    const reading = this.#inMessages(own, (part, at) => this.#readPart(offset + at, part))
    await unlessAborted(reading, signal)
    if (own !== buf) buf.set(own)
  }

  /** A server may give less than it is asked for. */
  async #readPart(offset: number, part: Buffer): Promise<void> {
    for (let done = 0; done < part.length; ) {
      const left = part.length - done
      const got = await this.#connection.call<number>(
        `could not read '${this.#path}' at ${offset + done}`,
        (callback) => this.#connection.sftp.read(this.#handle, part, done, left, offset + done, callback),
      )
      if (got === 0) throw new BlockError('EIO', `'${this.#path}' ends at ${offset + done}: it was cut off meanwhile`)
      done += got
    }
  }

  async #write(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    const own = signal === undefined ? buf : buf.slice()
    const writing = this.#inMessages(own, (part, at) =>
      this.#connection.call<void>(`could not write '${this.#path}' at ${offset + at}`, (callback) =>
        this.#connection.sftp.write(this.#handle, part, 0, part.length, offset + at, (error) => callback(error)),
      ),
    )
    await unlessAborted(writing, signal)
    this.size = Math.max(this.size, offset + buf.length)
  }

  async #inMessages(buf: Uint8Array, move: (part: Buffer, at: number) => Promise<void>): Promise<void> {
    const moves: Promise<void>[] = []
    for (let at = 0; at < buf.length; at += longestMessage) {
      const length = Math.min(longestMessage, buf.length - at)
      moves.push(move(Buffer.from(buf.buffer, buf.byteOffset + at, length), at))
    }
    // All, so that the buffer is left alone when this ends.
    for (const result of await Promise.allSettled(moves)) if (result.status === 'rejected') throw result.reason
  }

  async #truncate(size: number): Promise<void> {
    await this.#connection.resize(this.#handle, this.#path, size)
    this.size = size
  }

  /** Writes that are answered may be in the memory of the server still. */
  async flush(): Promise<void> {
    if (!(await this.#connection.sync(this.#handle, this.#path))) this.#warnOnce()
  }

  #warnOnce(): void {
    this.#warn?.('the server does not support fsync@openssh.com: flushed data may be lost when its machine crashes')
    this.#warn = undefined
  }

  async close(): Promise<void> {
    try {
      await this.#connection.closeFile(this.#handle, this.#path)
    } finally {
      this.#connection.close()
    }
  }
}

/** Opens an `ssh` node. */
export async function openImage(context: OpenContext): Promise<OpenImage> {
  const options = context.options as unknown as SshOptions
  const connection = await Connection.open(options, context)
  try {
    return await unlessAborted(imageOf(connection, context), context.signal)
  } catch (error) {
    connection.close()
    throw error
  }
}

async function imageOf(connection: Connection, context: OpenContext): Promise<OpenImage> {
  const { path } = context.options as unknown as SshOptions
  const handle = await openFile(connection, path, context)
  const attributes = await connection.call<Stats>(`failed to read file attributes of '${path}'`, (callback) =>
    connection.sftp.fstat(handle, callback),
  )
  if (!attributes.isFile()) throw new BlockError('EINVAL', `'${path}' on the server is no regular file`)
  return new SshImage(connection, handle, attributes.size, context)
}

async function openFile(connection: Connection, path: string, context: OpenContext): Promise<Buffer> {
  if (context.readOnly) return connection.openFile(path, 'r')
  try {
    return await connection.openFile(path, 'r+')
  } catch (error) {
    if (!context.autoReadOnly || !isBlockError(error) || error.code !== 'EACCES') throw error
    const handle = await connection.openFile(path, 'r')
    context.becomeReadOnly(error.message)
    return handle
  }
}

/** Makes a file, or empties one that is there, and gives it its size. */
export async function createFile(context: CreateContext): Promise<void> {
  const options = context.options as unknown as SshCreateOptions
  const connection = await Connection.open(options, context)
  try {
    await unlessAborted(makeFile(connection, options), context.signal)
  } finally {
    connection.close()
  }
}

async function makeFile(connection: Connection, { path, size }: SshCreateOptions): Promise<void> {
  const handle = await connection.openFile(path, 'w')
  await connection.resize(handle, path, size)
  await connection.sync(handle, path)
  await connection.closeFile(handle, path)
}

/** Removes a file. */
export async function removeFile(options: Readonly<Record<string, unknown>>): Promise<void> {
  const { path } = options as unknown as SshOptions
  const connection = await Connection.open(options as unknown as SshOptions, { clock: systemClock })
  try {
    await connection.call<void>(`could not remove '${path}'`, (done) => connection.sftp.unlink(path, done as never))
  } finally {
    connection.close()
  }
}
