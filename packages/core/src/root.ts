/**
 * A root: a user of the graph from outside (a handle, an export, a device, a job). Requests are counted here, so
 * this is where a drained section holds them: it waits for those in flight and lets new ones wait.
 */
import { maxOffset } from './bytes.ts'
import { done, Flag, Permission } from './contract.ts'
import { Edge } from './edge.ts'
import { abortedError, BlockError, isBlockError, toBlockError } from './errors.ts'
import { maxRequest } from './limits.ts'
import type { Node } from './node.ts'
import type { EdgePermissions } from './permissions.ts'
import { Statistics } from './statistics.ts'

/** What a root is allowed to do, and lets others do. */
export interface RootSettings {
  /** For messages: `block device 'disk0'`. */
  readonly description: string
  readonly permissions: EdgePermissions
  /** Every write is on stable storage before it completes. */
  readonly writethrough?: boolean
}

/** See the top of the file. Offsets and lengths are bytes; buffers belong to the caller again when the promise settles. */
export class Root {
  readonly edge: Edge
  readonly statistics = new Statistics()
  readonly #description: string
  readonly #writethrough: boolean
  #inFlight = 0
  #held = 0
  #waiting: (() => void)[] = []
  #idle: (() => void)[] = []
  #closed = false

  constructor(node: Node, settings: RootSettings) {
    this.#description = settings.description
    this.#writethrough = settings.writethrough === true
    this.edge = new Edge(this, 'root', 'storage', node)
  }

  /** The node that this root uses now. */
  get node(): Node {
    return this.edge.node
  }

  describe(): string {
    return this.#description
  }

  get size(): number {
    return this.edge.size
  }

  /** Fills `buf` from `offset`. EIO past the end; ECANCELED when `signal` is aborted. */
  read(offset: number, buf: Uint8Array, flags = 0, signal?: AbortSignal): Promise<void> {
    if (this.#mustStop(offset, buf.length, signal)) return this.#stop('read', offset, buf.length, signal)
    if (this.#held > 0) return this.#hold(() => this.read(offset, buf, flags, signal))
    const { statistics } = this
    statistics.read.start(buf.length)
    this.#inFlight++
    const result = this.edge.node.read(offset, buf, flags, signal)
    if (result === done) {
      this.#readEnded()
      return done
    }
    return result.then(this.#readEnded, this.#readFailed)
  }

  /** Writes `buf` at `offset`. EIO past the end, EPERM on a read-only disk, ENOSPC when the storage is full. */
  write(offset: number, buf: Uint8Array, flags = 0, signal?: AbortSignal): Promise<void> {
    if (this.#mustStop(offset, buf.length, signal)) return this.#stop('write', offset, buf.length, signal)
    if ((this.edge.permissions & Permission.Write) === 0) return this.#refuseWrite('write')
    if (this.#held > 0) return this.#hold(() => this.write(offset, buf, flags, signal))
    this.statistics.write.start(buf.length)
    this.#inFlight++
    const result = this.edge.node.write(offset, buf, this.#writethrough ? flags | Flag.Fua : flags, signal)
    if (result === done) {
      this.#writeEnded()
      return done
    }
    return result.then(this.#writeEnded, this.#writeFailed)
  }

  /** Makes a range read as zeroes; with `Flag.MayUnmap` by deallocating where that is allowed. */
  writeZeroes(offset: number, length: number, flags = 0, signal?: AbortSignal): Promise<void> {
    if (this.#mustStopLong(offset, length, signal)) return this.#stop('zero', offset, length, signal)
    if ((this.edge.permissions & Permission.Write) === 0) return this.#refuseWrite('write zeroes')
    if (this.#held > 0) return this.#hold(() => this.writeZeroes(offset, length, flags, signal))
    this.statistics.write.start(length)
    this.#inFlight++
    const result = this.edge.node.writeZeroes(offset, length, this.#writethrough ? flags | Flag.Fua : flags, signal)
    return result.then(this.#writeEnded, this.#writeFailed)
  }

  /** Tells that a range is no longer needed; its content is undefined afterwards. */
  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    if (this.#mustStopLong(offset, length, signal)) return this.#stop('discard', offset, length, signal)
    if ((this.edge.permissions & Permission.Write) === 0) return this.#refuseWrite('discard')
    if (this.#held > 0) return this.#hold(() => this.discard(offset, length, signal))
    this.statistics.discard.start(length)
    this.#inFlight++
    return this.edge.node.discard(offset, length, signal).then(this.#discardEnded, this.#discardFailed)
  }

  /** Puts everything written so far on stable storage. */
  flush(signal?: AbortSignal): Promise<void> {
    if (this.#closed) return this.#stop('flush', 0, 0, signal)
    if (this.#held > 0) return this.#hold(() => this.flush(signal))
    this.statistics.flush.start(0)
    this.#inFlight++
    return this.edge.node.flush(signal).then(this.#flushEnded, this.#flushFailed)
  }

  /** Holds new requests from now on; resolves when none is in flight. Nests; pair with {@link resume}. */
  pause(): Promise<void> {
    this.#held++
    if (this.#inFlight === 0) return done
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Lets held requests go on, in their order. */
  resume(): void {
    this.#held--
    if (this.#held > 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  /** Refuses every request from now on. The graph calls it when the root is detached. */
  shut(): void {
    this.#closed = true
  }

  /** Counts some other piece of work as a request, so that drained sections wait for it. */
  async whileCounted<T>(work: () => Promise<T>): Promise<T> {
    if (this.#held > 0) await this.#turn()
    this.#inFlight++
    try {
      return await work()
    } finally {
      this.#leave()
    }
  }

  #mustStop(offset: number, length: number, signal: AbortSignal | undefined): boolean {
    return (
      !(offset >= 0 && offset + length <= this.edge.node.image.size) ||
      length > maxRequest ||
      this.#closed ||
      signal?.aborted === true ||
      !Number.isSafeInteger(offset)
    )
  }

  #mustStopLong(offset: number, length: number, signal: AbortSignal | undefined): boolean {
    return (
      !(length >= 0 && Number.isSafeInteger(length)) || this.#mustStop(offset, 0, signal) || offset + length > this.size
    )
  }

  #stop(verb: string, offset: number, length: number, signal: AbortSignal | undefined): Promise<never> {
    const attempt = `cannot ${verb} ${length} bytes at ${offset} of ${this.describe()}`
    if (this.#closed) return Promise.reject(new BlockError('ENOMEDIUM', `${attempt}: it is closed`))
    if (signal?.aborted) return Promise.reject(abortedError(signal))
    if (!Number.isSafeInteger(offset) || offset < 0 || offset > maxOffset) {
      return Promise.reject(new BlockError('EINVAL', `${attempt}: the offset is not a whole number of bytes`))
    }
    if (length > maxRequest && offset + length <= this.size) {
      return Promise.reject(new BlockError('EINVAL', `${attempt}: a request is at most ${maxRequest} bytes long`))
    }
    return Promise.reject(new BlockError('EIO', `${attempt}: the disk ends at ${this.size}`))
  }

  #refuseWrite(verb: string): Promise<never> {
    const reason = this.edge.node.readOnly ? 'it is read-only' : 'it was opened for reading'
    return Promise.reject(
      new BlockError('EPERM', `cannot ${verb} on ${this.describe()}: ${reason}`, { node: this.node.name }),
    )
  }

  async #hold<T>(request: () => Promise<T>): Promise<T> {
    await this.#turn()
    return request()
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #leave(): void {
    this.#inFlight--
    if (this.#inFlight > 0 || this.#idle.length === 0) return
    const idle = this.#idle
    this.#idle = []
    for (const wake of idle) wake()
  }

  // One function per outcome, made once per root: a request allocates no closure.
  readonly #readEnded = (): void => {
    this.statistics.read.end()
    this.#leave()
  }
  readonly #readFailed = (error: unknown): never => {
    this.statistics.read.fail()
    return this.#fail(error)
  }
  readonly #writeEnded = (): void => {
    this.statistics.write.end()
    this.#leave()
  }
  readonly #writeFailed = (error: unknown): never => {
    this.statistics.write.fail()
    return this.#fail(error)
  }
  readonly #flushEnded = (): void => {
    this.statistics.flush.end()
    this.#leave()
  }
  readonly #flushFailed = (error: unknown): never => {
    this.statistics.flush.fail()
    return this.#fail(error)
  }
  readonly #discardEnded = (): void => {
    this.statistics.discard.end()
    this.#leave()
  }
  readonly #discardFailed = (error: unknown): never => {
    this.statistics.discard.fail()
    return this.#fail(error)
  }

  #fail(error: unknown): never {
    this.#leave()
    const failure = toBlockError(error)
    if (isBlockError(failure) && failure.node === undefined) failure.node = this.node.name
    throw failure
  }
}
