/**
 * Fetches a file. A transfer is one socket of ours and one of the server's: the first datagram from the server's address
 * fixes its port, and whoever writes from another one is told that we do not know him.
 *
 * Blocks are taken in order. Whatever is lost is found out by a gap or by time: then the last block that came in order is
 * confirmed again, and the server goes on behind it (RFC 7440, 4). So it is when a block that was confirmed comes a
 * second time, for our confirmation may have been lost; but once, or two copies of each datagram would become many.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { isIPv6 } from 'node:net'
import { abortedError, BlockError, type ErrorCode } from '@diskgraph/core/driver'
import { networkError } from '@diskgraph/remote'
import { Content } from './content.ts'
import type { TftpSettings } from './options.ts'
import { acknowledgement, errorCode, errorPacket, type Packet, parsePacket, readRequest } from './packets.ts'

/** Bytes of a block where no option says otherwise. */
const plainBlockSize = 512

const codes: Readonly<Record<number, ErrorCode>> = {
  [errorCode.notFound]: 'ENOENT',
  [errorCode.accessViolation]: 'EACCES',
}

/** The server refused our options, before anything was sent. */
class OptionsRefused extends Error {}

/** All of the file. ENOENT or EACCES as the server says, EFBIG beyond the limit, ETIMEDOUT when it does not go on. */
export async function download(settings: TftpSettings, signal: AbortSignal | undefined): Promise<Content> {
  const address = await addressOf(settings.host)
  try {
    return await new Download(settings, address, true).run(signal)
  } catch (error) {
    if (!(error instanceof OptionsRefused)) throw error
    return new Download(settings, address, false).run(signal)
  }
}

async function addressOf(host: string): Promise<string> {
  try {
    return (await lookup(host)).address
  } catch (error) {
    throw socketError(error, host)
  }
}

function socketError(error: unknown, host: string): BlockError {
  const failure = networkError(error, host)
  return failure instanceof BlockError ? failure : failure.error
}

class Download {
  readonly #settings: TftpSettings
  readonly #address: string
  readonly #withOptions: boolean
  readonly #socket: Socket
  readonly #content = new Content()
  #port: number | undefined
  #blockSize = plainBlockSize
  #windowSize = 1
  /** What the server says the size is. */
  #told: number | undefined
  /** The block that comes next; they count from 1, and go round in the datagrams. */
  #next = 1
  /** Blocks taken since the last one that was confirmed. */
  #unconfirmed = 0
  /** The block that was missing when the server was last reminded of it. */
  #missed = 0
  #last: Uint8Array
  #sent: Promise<void> = Promise.resolve()
  #repeated = 0
  #cancelTimer: () => void = () => undefined
  #settle: { resolve(content: Content): void; reject(error: unknown): void } | undefined

  constructor(settings: TftpSettings, address: string, withOptions: boolean) {
    const { path, blockSize, windowSize } = settings
    this.#settings = settings
    this.#address = address
    this.#withOptions = withOptions
    this.#socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
    const options = { tsize: 0, blksize: blockSize, windowsize: windowSize }
    this.#last = readRequest(path, withOptions ? options : {})
  }

  async run(signal: AbortSignal | undefined): Promise<Content> {
    const { clock, timeout } = this.#settings
    const abort = (): void => this.#giveUp(errorCode.illegalOperation, abortedError(signal as AbortSignal))
    const late = (): void =>
      this.#giveUp(0, new BlockError('ETIMEDOUT', `fetching the file takes too long (${timeout / 1000} s)`))
    const cancel = Number.isFinite(timeout) ? clock.timeout(timeout, late) : () => undefined
    try {
      return await new Promise((resolve, reject) => {
        this.#settle = { resolve, reject }
        this.#socket.on('message', (datagram, from) => this.#receive(datagram, from))
        this.#socket.on('error', (error) => reject(socketError(error, this.#settings.host)))
        signal?.addEventListener('abort', abort)
        if (signal?.aborted) abort()
        else {
          this.#sendLast()
          this.#setTimer()
        }
      })
    } finally {
      cancel()
      this.#cancelTimer()
      signal?.removeEventListener('abort', abort)
      // A socket that is closed at once takes back what has just been sent.
      await this.#sent
      this.#socket.close()
    }
  }

  #receive(datagram: Uint8Array, from: RemoteInfo): void {
    if (from.address !== this.#address) return
    const packet = parsePacket(datagram)
    if (packet === undefined) return
    this.#port ??= from.port
    if (from.port !== this.#port) {
      this.#send(errorPacket(errorCode.unknownTransferId, 'unknown transfer ID'), from.port)
      return
    }
    if (packet.kind === 'data') this.#take(packet.block, packet.bytes)
    else if (packet.kind === 'oack') this.#agree(packet.options)
    else this.#fail(this.#errorOf(packet))
  }

  #errorOf({ code, text }: Extract<Packet, { kind: 'error' }>): Error {
    if (code === errorCode.optionRefused && this.#withOptions && this.#next === 1) return new OptionsRefused()
    const shown = text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
    return new BlockError(codes[code] ?? 'EIO', `the server refuses: ${shown || `error ${code}`}`)
  }

  /** Takes what the server makes of our options; they hold from the first block on. */
  #agree(options: ReadonlyMap<string, string>): void {
    if (this.#next > 1 || !this.#withOptions) return
    const { blockSize, windowSize } = this.#settings
    const limits: Readonly<Record<string, readonly [number, number]>> = {
      blksize: [8, blockSize],
      windowsize: [1, windowSize],
      tsize: [0, Number.MAX_SAFE_INTEGER],
    }
    for (const [name, text] of options) {
      const [least, most] = limits[name] ?? [1, 0]
      const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
      if (!(value >= least && value <= most)) {
        const error = new BlockError('EIO', `the server answers an option with one that was not asked for: ${name}`)
        this.#giveUp(errorCode.optionRefused, error)
        return
      }
      if (name === 'blksize') this.#blockSize = value
      else if (name === 'windowsize') this.#windowSize = value
      else this.#told = value
    }
    if (this.#told !== undefined && !this.#fits(this.#told)) return
    this.#confirm()
  }

  #take(block: number, bytes: Uint8Array): void {
    const ahead = (((block - this.#next) % 65536) + 65536) % 65536
    if (ahead !== 0) {
      const isLast = ahead === 65535 && this.#unconfirmed === 0
      const tells = isLast || ahead < this.#windowSize
      if (tells && this.#missed !== this.#next) this.#confirm()
      if (tells) this.#missed = this.#next
      return
    }
    if (bytes.length > this.#blockSize) {
      const error = new BlockError('EIO', `the server sends ${bytes.length} bytes in a block of ${this.#blockSize}`)
      this.#giveUp(errorCode.illegalOperation, error)
      return
    }
    if (!this.#fits(this.#content.size + bytes.length)) return
    this.#content.append(bytes)
    this.#next++
    this.#repeated = 0
    // Nothing else puts the end off: not what comes twice, nor what comes from elsewhere.
    this.#setTimer()
    if (bytes.length < this.#blockSize) this.#finish()
    else if (++this.#unconfirmed === this.#windowSize) this.#confirm()
  }

  #fits(size: number): boolean {
    const { maxSize } = this.#settings
    if (size <= maxSize) return true
    const message = `the file is longer than ${maxSize} bytes, which is the most that is kept in memory`
    this.#giveUp(errorCode.diskFull, new BlockError('EFBIG', message, { hint: 'set max-size to its size' }))
    return false
  }

  #finish(): void {
    this.#confirm()
    const { size } = this.#content
    if (this.#told === undefined || this.#told === size) this.#settle?.resolve(this.#content)
    else this.#fail(new BlockError('EIO', `the server said ${this.#told} bytes, and sent ${size}`))
  }

  /** Confirms all that has come. */
  #confirm(): void {
    this.#unconfirmed = 0
    this.#last = acknowledgement(this.#next - 1)
    this.#sendLast()
  }

  #sendLast(): void {
    this.#send(this.#last, this.#port ?? this.#settings.port)
  }

  #send(packet: Uint8Array, port: number): void {
    this.#sent = new Promise((resolve) => {
      this.#socket.send(packet, port, this.#address, (error) => {
        if (error !== null) this.#fail(socketError(error, this.#settings.host))
        resolve()
      })
    })
  }

  #setTimer(): void {
    this.#cancelTimer()
    this.#cancelTimer = this.#settings.clock.timeout(this.#settings.idleTimeout, () => this.#repeat())
  }

  #repeat(): void {
    const { retries, idleTimeout } = this.#settings
    if (++this.#repeated > retries) {
      const what = this.#port === undefined ? 'the server does not answer' : 'the server stopped sending'
      const message = `${what} (${(idleTimeout / 1000) * this.#repeated} s)`
      this.#giveUp(errorCode.illegalOperation, new BlockError('ETIMEDOUT', message))
      return
    }
    if (this.#unconfirmed > 0) this.#confirm()
    else this.#sendLast()
    this.#setTimer()
  }

  /** Tells the server, as far as it is there, and ends. */
  #giveUp(code: number, error: unknown): void {
    if (this.#port !== undefined) this.#send(errorPacket(code, 'given up'), this.#port)
    this.#fail(error)
  }

  #fail(error: unknown): void {
    this.#settle?.reject(error)
  }
}
