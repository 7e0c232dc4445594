/**
 * Bytes of a unix socket with the descriptors that come along, which Node's own reading would lose.
 *
 * A second handle watches a duplicate of the socket. It offers no room to read into: then libuv reads nothing and says
 * ENOBUFS whenever there is something to read, and `recvmsg` takes both.
 */
import { closeSync } from 'node:fs'
import { Socket } from 'node:net'
import { native, type Posix } from '@diskgraph/posix'

/** What hears of a {@link DescriptorStream}. */
interface DescriptorReceiver {
  /** The bytes and the descriptors are the receiver's. */
  data(chunk: Uint8Array, descriptors: readonly number[]): void
  end(): void
  error(error: Error): void
}

class Watch extends Socket {
  readonly #onReadable: () => void

  constructor(fd: number, onReadable: () => void) {
    const nowhere = { buffer: new Uint8Array(0), callback: () => true }
    super({ fd, readable: true, writable: false, onread: nowhere, manualStart: true } as object)
    this.#onReadable = onReadable
  }

  override destroy(error?: Error & { readonly code?: string }): this {
    if (error?.code !== 'ENOBUFS') return super.destroy(error)
    this.#onReadable()
    return this
  }
}

/** See the top of the file. It begins paused. */
export class DescriptorStream {
  readonly #posix: Posix
  readonly #receiver: DescriptorReceiver
  readonly #watch: Watch
  readonly #fd: number
  readonly #buf = new Uint8Array(new ArrayBuffer(65536))
  #closed = false

  private constructor(posix: Posix, fd: number, receiver: DescriptorReceiver) {
    this.#posix = posix
    this.#fd = fd
    this.#receiver = receiver
    this.#watch = new Watch(fd, () => this.#receive())
    this.#watch.on('error', (error) => receiver.error(error))
  }

  /** Reads `socket`, which goes on to write, and which nothing has read from; undefined for what this is not possible for. */
  static of(socket: unknown, receiver: DescriptorReceiver): DescriptorStream | undefined {
    const isNode = !('bun' in process.versions || 'deno' in process.versions)
    if (!isNode || !(socket instanceof Socket) || !socket.isPaused() || socket.remoteFamily !== undefined)
      return undefined
    const { _handle: handle } = socket as unknown as { readonly _handle?: { readonly fd?: number } | null }
    const posix = native()
    if (posix === null || handle?.fd === undefined || handle.fd < 0) return undefined
    return new DescriptorStream(posix, posix.duplicate(handle.fd), receiver)
  }

  pause(): void {
    this.#watch.pause()
  }

  resume(): void {
    if (!this.#closed) this.#watch.resume()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#watch.destroy()
  }

  #receive(): void {
    if (this.#closed) return
    try {
      const received = this.#posix.receive(this.#fd, this.#buf)
      if (received === undefined) return
      const { length, descriptors } = received
      if (length > 0) this.#receiver.data(this.#buf.slice(0, length), descriptors)
      else {
        for (const fd of descriptors) closeSync(fd)
        this.close()
        this.#receiver.end()
      }
    } catch (error) {
      this.close()
      this.#receiver.error(error as Error)
    }
  }
}
