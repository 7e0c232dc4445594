/**
 * A root: a user of the graph from outside (a handle, an export, a device, a job). Every operation of a root is counted
 * and, while a drained section holds its node, waits. So a section knows when nothing is in flight, and nothing of
 * what a root does can meet it. A wait ends early when the request's signal is aborted.
 */

import { isByteCount, isBytes } from '../bytes.ts'
import { done, Flag, Permission } from '../contract/contract.ts'
import { abortedError, BlockError, toBlockError } from '../errors.ts'
import { type Inspect, inspected, inspection } from '../inspection.ts'
import { Listeners } from '../listeners.ts'
import { withoutSecrets } from '../options/filenames.ts'
import { Activity, WaitingLine } from '../request/activity.ts'
import { maxRequest } from '../request/limits.ts'
import { areFlags, requestRefusal } from '../request/refusals.ts'
import { type RequestKind, Statistics } from '../request/statistics.ts'
import { Edge } from './edge.ts'
import { chainStatus, type Extent } from './extents.ts'
import type { GraphEdge, GraphRoot, Node } from './node.ts'
import type { EdgePermissions } from './permissions.ts'

/** What a root is allowed to do, and lets others do. */
export interface RootSettings {
  /** For messages: `block device 'disk0'`. */
  readonly description: string
  readonly permissions: EdgePermissions
  /** Every write is on stable storage before it completes. */
  readonly writethrough?: boolean
  /** What messages of conflicts call its use of the node. Default `root`. */
  readonly edgeName?: string
}

/** Hears of each request when it ends. `begin` is the graph's clock in milliseconds when it began. */
export type RequestObserver = (kind: RequestKind, bytes: number, begin: number, failed: boolean) => void

/**
 * A user of a node from outside, whose requests are counted and held. Offsets and lengths are bytes, `flags` bits of
 * {@link Flag}; a buffer belongs to the root until the promise settles, and then to the caller again. Errors that every
 * request may have: EINVAL for arguments that are none, ENOMEDIUM when the root is closed or has no medium, ECANCELED
 * when its signal is aborted, EIO past the end of the disk, and what the storage says.
 */
export class Root implements GraphRoot {
  readonly isRoot = true
  readonly edge: GraphEdge
  readonly statistics: Statistics
  /** Set it for histograms of latency; a request then costs an allocation more. */
  observer: RequestObserver | undefined
  admitted = false
  readonly #description: string
  readonly #writethrough: boolean
  readonly #activity = new Activity()
  readonly #line = new WaitingLine()
  readonly #resizeListeners = new Listeners<number>((message) => this.edge.node.warn(message))
  /** Pieces of counted work under way: their own requests pass, or the section they keep from beginning never would. */
  #counted = 0
  #leaving = false
  #closed = false
  #toldSize: number

  constructor(node: Node, settings: RootSettings) {
    this.#description = settings.description
    this.#writethrough = settings.writethrough === true
    this.statistics = new Statistics(node.clock)
    this.edge = new Edge(this, settings.edgeName ?? 'root', 'storage', node)
    this.#toldSize = node.size
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

  /** Whether it has been closed, or is being closed. */
  get closed(): boolean {
    return this.#closed
  }

  /** Fills all of `buf` with the bytes from `offset` on. After an error its content is undefined. */
  read(offset: number, buf: Uint8Array, flags = 0, signal?: AbortSignal): Promise<void> {
    if (this.#mustStop(offset, buf, flags, signal)) return this.#stop('read', offset, buf, flags, signal)
    if (this.#isHeld()) return this.#hold(() => this.read(offset, buf, flags, signal), signal)
    const begin = this.#start('read', buf.length)
    try {
      const result = this.edge.node.read(offset, buf, flags, signal)
      if (result !== done)
        return this.#watched(result.then(this.#readEnded, this.#readFailed), 'read', buf.length, begin)
    } catch (error) {
      return this.#watched(Promise.reject(error).catch(this.#readFailed), 'read', buf.length, begin)
    }
    this.#readEnded()
    if (this.observer !== undefined) this.#observe('read', buf.length, begin, false)
    return done
  }

  /** Writes all of `buf` at `offset`. EPERM on a read-only disk, ENOSPC when the storage is full. */
  write(offset: number, buf: Uint8Array, flags = 0, signal?: AbortSignal): Promise<void> {
    if (this.#mustStop(offset, buf, flags, signal)) return this.#stop('write', offset, buf, flags, signal)
    if (!this.#mayWrite(flags)) return Promise.reject(this.refusal('write'))
    if (this.#isHeld()) return this.#hold(() => this.write(offset, buf, flags, signal), signal)
    const begin = this.#start('write', buf.length)
    try {
      const result = this.edge.node.write(offset, buf, this.#writethrough ? flags | Flag.Fua : flags, signal)
      if (result !== done) {
        return this.#watched(result.then(this.#writeEnded, this.#writeFailed), 'write', buf.length, begin)
      }
    } catch (error) {
      return this.#watched(Promise.reject(error).catch(this.#writeFailed), 'write', buf.length, begin)
    }
    this.#writeEnded()
    if (this.observer !== undefined) this.#observe('write', buf.length, begin, false)
    return done
  }

  /** Makes a range read as zeroes; with `Flag.MayUnmap` by deallocating where that is allowed. EPERM on a read-only disk. */
  writeZeroes(offset: number, length: number, flags = 0, signal?: AbortSignal): Promise<void> {
    if (this.#mustStopLong(offset, length, flags, signal)) return this.#stop('zero', offset, length, flags, signal)
    if (!this.#mayWrite(flags)) return Promise.reject(this.refusal('write zeroes'))
    if (this.#isHeld()) return this.#hold(() => this.writeZeroes(offset, length, flags, signal), signal)
    const begin = this.#start('write', length)
    const pass = this.#writethrough ? flags | Flag.Fua : flags
    try {
      const result = this.edge.node.writeZeroes(offset, length, pass, signal)
      return this.#watched(result.then(this.#writeEnded, this.#writeFailed), 'write', length, begin)
    } catch (error) {
      return this.#watched(Promise.reject(error).catch(this.#writeFailed), 'write', length, begin)
    }
  }

  /** Tells that a range is no longer needed; its content is undefined afterwards. EPERM on a read-only disk. */
  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    if (this.#mustStopLong(offset, length, 0, signal)) return this.#stop('discard', offset, length, 0, signal)
    if (!this.#mayWrite(0)) return Promise.reject(this.refusal('discard'))
    if (this.#isHeld()) return this.#hold(() => this.discard(offset, length, signal), signal)
    const begin = this.#start('discard', length)
    try {
      const result = this.edge.node.discard(offset, length, signal)
      return this.#watched(result.then(this.#discardEnded, this.#discardFailed), 'discard', length, begin)
    } catch (error) {
      return this.#watched(Promise.reject(error).catch(this.#discardFailed), 'discard', length, begin)
    }
  }

  /** Puts everything written so far on stable storage. */
  flush(signal?: AbortSignal): Promise<void> {
    if (this.#mustStopAny(0, 0, signal)) return this.#stop('flush', 0, 0, 0, signal)
    if (this.#isHeld()) return this.#hold(() => this.flush(signal), signal)
    const begin = this.#start('flush', 0)
    try {
      const result = this.edge.node.flush(signal)
      return this.#watched(result.then(this.#flushEnded, this.#flushFailed), 'flush', 0, begin)
    } catch (error) {
      return this.#watched(Promise.reject(error).catch(this.#flushFailed), 'flush', 0, begin)
    }
  }

  /**
   * Status of the chain at `offset`, down to and without `base`, for at most `length` bytes and at least one.
   * Undefined at and past the end of the disk, which may have come nearer meanwhile.
   */
  async status(offset: number, length: number, base?: Node, signal?: AbortSignal): Promise<Extent | undefined> {
    if (!isByteCount(offset) || !isByteCount(length) || length === 0) {
      throw new BlockError('EINVAL', `there is no status of ${String(length)} bytes at ${String(offset)}`)
    }
    return this.request(async () => {
      if (offset >= this.size) return undefined
      const extent = await chainStatus(this.edge.node, base, offset, length, signal)
      if (extent.length >= 1) return extent
      const message = `a driver told the status of ${extent.length} bytes at ${offset}: at least 1 is due`
      throw new BlockError('EIO', message, { node: extent.node.name })
    }, signal)
  }

  /** Counts and holds `work` as one request. */
  protected async request<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#admission(signal, () => this.#isHeld())
    this.#activity.enter()
    try {
      return await work()
    } catch (error) {
      throw this.#named(error)
    } finally {
      this.#activity.leave()
    }
  }

  /** Calls `listener` with the new size when the disk is resized or another medium stands here; the result ends that. */
  onResize(listener: (size: number) => void): () => void {
    return this.#resizeListeners.add(listener)
  }

  /**
   * Counts some other piece of work as a request: drained sections wait for it, and while one runs it waits. Until it
   * ends, requests of this root pass, for it may be waiting for them. Do not nest it.
   */
  async whileCounted<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#admission(signal, () => this.#isClosedTo())
    this.#activity.enter()
    this.#counted++
    try {
      return await work()
    } catch (error) {
      throw this.#named(error)
    } finally {
      this.#counted--
      this.#activity.leave()
    }
  }

  /** What is worth knowing of the root. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { node, size, closed } = this
    const { name, driver, readOnly } = node
    const description = withoutSecrets(this.#description)
    return { description, node: name, driver: driver.name, size, readOnly, closed }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('Root', this, options, inspect)
  }

  // What the graph calls; see GraphRoot.

  idle(): Promise<void> {
    return this.#activity.idle()
  }

  resume(): void {
    this.#line.wake()
  }

  shut(): void {
    this.#closed = true
    this.#line.wake()
  }

  leave(leaving: boolean): void {
    this.#leaving = leaving
    if (!leaving) this.#line.wake()
  }

  resized(): void {
    const { size } = this
    if (size === this.#toldSize) return
    this.#toldSize = size
    this.#resizeListeners.tell(size, 'a size')
  }

  /** Waits while `isHeld` says so; refuses when the root is closed or the signal aborted. */
  async #admission(signal: AbortSignal | undefined, isHeld: () => boolean): Promise<void> {
    for (;;) {
      if (this.#closed) throw this.#closedError('use')
      if (signal?.aborted) throw abortedError(signal)
      if (!isHeld()) return
      await this.#line.wait(signal)
    }
  }

  /** Whether a section, or the end of this root, keeps new work back. */
  #isClosedTo(): boolean {
    return (this.edge.node.quiesced > 0 && !this.admitted) || this.#leaving
  }

  #isHeld(): boolean {
    return this.#isClosedTo() && this.#counted === 0
  }

  #start(kind: RequestKind, length: number): number {
    this.#activity.enter()
    return this.statistics[kind].start(length)
  }

  #watched(result: Promise<void>, kind: RequestKind, bytes: number, begin: number): Promise<void> {
    if (this.observer === undefined) return result
    return result.then(
      () => this.#observe(kind, bytes, begin, false),
      (error) => {
        this.#observe(kind, bytes, begin, true)
        throw error
      },
    )
  }

  #observe(kind: RequestKind, bytes: number, begin: number, failed: boolean): void {
    try {
      this.observer?.(kind, bytes, begin, failed)
    } catch (error) {
      this.node.warn(`an observer of ${this.describe()} failed: ${toBlockError(error).message}`)
    }
  }

  #mustStop(offset: number, buf: Uint8Array, flags: number, signal: AbortSignal | undefined): boolean {
    return (
      !isBytes(buf) ||
      buf.length > maxRequest ||
      this.#mustStopAny(offset, flags, signal) ||
      offset + buf.length > this.edge.node.image.size
    )
  }

  #mustStopLong(offset: number, length: number, flags: number, signal: AbortSignal | undefined): boolean {
    return !isByteCount(length) || this.#mustStopAny(offset, flags, signal) || offset + length > this.size
  }

  #mustStopAny(offset: number, flags: number, signal: AbortSignal | undefined): boolean {
    return (
      this.#closed || signal?.aborted === true || !isByteCount(offset) || !areFlags(flags) || this.edge.node.isEmpty
    )
  }

  #stop(
    verb: string,
    offset: number,
    data: Uint8Array | number,
    flags: number,
    signal: AbortSignal | undefined,
  ): Promise<never> {
    if (this.#closed) return Promise.reject(this.#closedError(verb))
    if (signal?.aborted) return Promise.reject(abortedError(signal))
    return Promise.reject(requestRefusal(this, verb, offset, data, flags))
  }

  #closedError(verb: string): BlockError {
    return new BlockError('ENOMEDIUM', `cannot ${verb} ${this.describe()}: it is closed`)
  }

  /** Writes that change nothing a reader sees need less. */
  #mayWrite(flags: number): boolean {
    const { permissions } = this.edge
    if ((permissions & Permission.Write) !== 0) return true
    return (flags & Flag.Unchanged) !== 0 && (permissions & Permission.WriteUnchanged) !== 0
  }

  /** The error of a change through a root that may not write. */
  protected refusal(verb: string): BlockError {
    const reason = this.edge.node.readOnly ? 'it is read-only' : 'it was opened for reading'
    return new BlockError('EPERM', `cannot ${verb} on ${this.describe()}: ${reason}`, { node: this.node.name })
  }

  async #hold(request: () => Promise<void>, signal: AbortSignal | undefined): Promise<void> {
    await this.#line.wait(signal)
    return request()
  }

  // One function per outcome, made once per root: a request allocates no closure.
  readonly #readEnded = (): void => {
    this.statistics.read.end()
    this.#activity.leave()
  }
  readonly #readFailed = (error: unknown): never => {
    this.statistics.read.fail()
    return this.#fail(error)
  }
  readonly #writeEnded = (): void => {
    this.statistics.write.end()
    this.#activity.leave()
  }
  readonly #writeFailed = (error: unknown): never => {
    this.statistics.write.fail()
    return this.#fail(error)
  }
  readonly #flushEnded = (): void => {
    this.statistics.flush.end()
    this.#activity.leave()
  }
  readonly #flushFailed = (error: unknown): never => {
    this.statistics.flush.fail()
    return this.#fail(error)
  }
  readonly #discardEnded = (): void => {
    this.statistics.discard.end()
    this.#activity.leave()
  }
  readonly #discardFailed = (error: unknown): never => {
    this.statistics.discard.fail()
    return this.#fail(error)
  }

  #fail(error: unknown): never {
    this.#activity.leave()
    throw this.#named(error)
  }

  #named(error: unknown): BlockError {
    const failure = toBlockError(error)
    if (failure.node === undefined) failure.node = this.node.name
    return failure
  }
}
