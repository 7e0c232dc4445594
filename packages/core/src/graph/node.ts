/**
 * A node of the graph: a driver's open image, and all that the core does for it on the way of a request.
 *
 * The fast path is a direct call: a node without alignment, watchers, zero detection or probing guard forwards
 * to its image after two comparisons, and allocates nothing. Everything else is in `requests.ts`, which is
 * entered only when one of them applies. `simpleRead` and `simpleWrite` hold that decision; whatever changes it
 * calls {@link Node.updatePaths}.
 */

import { type Clock, systemClock } from '../clock.ts'
import {
  type BlockStatus,
  type CacheOptions,
  type DriverDescriptor,
  done,
  Flag,
  type Limits,
  type OpenImage,
  Permission,
  type TruncateOptions,
} from '../contract/contract.ts'
import type { DriverInfo } from '../contract/image-operations.ts'
import { BlockError, toBlockError } from '../errors.ts'
import { Activity, WaitingLine } from '../request/activity.ts'
import { DirtyBitmap } from '../request/dirty-bitmap.ts'
import { defaultLimits, resolveLimits } from '../request/limits.ts'
import { RangeLock } from '../request/range-lock.ts'
import { discardRequest, type ProbeGuard, readRequest, writeRequest, writeZeroesRequest } from '../request/requests.ts'
import { ownStatus } from '../request/status.ts'
import type { Blocker } from './blockers.ts'
import type { Edge } from './edge.ts'
import { isRoot, nodeBrand } from './parent.ts'

/** What a {@link WriteNotifier} is told about. */
export type WriteKind = 'write' | 'zeroes' | 'discard'

/** Called before a change of a range reaches the image; the change waits for it, and fails if it rejects. */
export type WriteNotifier = (offset: number, length: number, kind: WriteKind) => Promise<void> | void

/** What a node is made of; see {@link Node}. */
export interface NodeSettings {
  readonly name: string
  readonly driver: DriverDescriptor
  readonly options: Readonly<Record<string, unknown>>
  readonly filename: string
  readonly readOnly: boolean
  readonly cache: CacheOptions
  readonly discard: 'ignore' | 'unmap'
  readonly detectZeroes: 'off' | 'on' | 'unmap'
  readonly forceShare: boolean
  readonly children: ReadonlyMap<string, Edge>
  /** Default: the system's. */
  readonly clock?: Clock
  /** Tells the person who runs this something. Default: nobody. */
  readonly warn?: (message: string) => void
}

/** The image of a node that is closed or has no medium. */
export const noImage: OpenImage = {
  size: 0,
  read: () => Promise.reject(new BlockError('ENOMEDIUM', 'the node is closed')),
}

/** A node of the graph. Made by `Graph`; parents reach it through edges, users through a `Disk`. */
export class Node {
  readonly isRoot = false
  readonly name: string
  readonly driver: DriverDescriptor
  /** The options as they were given, children left out. */
  options: Readonly<Record<string, unknown>>
  readonly filename: string
  readOnly: boolean
  cache: CacheOptions
  discardMode: 'ignore' | 'unmap'
  detectZeroes: 'off' | 'on' | 'unmap'
  readonly forceShare: boolean
  /** Edges to children by name. Changed only by the graph, drained. */
  readonly children: Map<string, Edge>
  /** Edges from parents. Changed only by the graph. */
  readonly parents = new Set<Edge>()
  /** Union of what the parents do, and intersection of what they share, as {@link Permission} bits. */
  permissions = 0
  shared: number = Permission.All
  /** Kept although nobody uses it; the graph's `remove` ends that. */
  explicit = false
  /** Above 0: kept although nobody uses it yet, by whoever opens or changes it now. */
  pins = 0
  /** @internal Its driver is opening it now, and is counted as work. */
  opening = false
  /** Above 0: a drained section holds the node, and roots hold their requests. */
  quiesced = 0
  /** @internal Work under way that no request from above asked for. */
  readonly activity = new Activity()
  /** @internal Such work that waits for the end of a drained section. */
  readonly line = new WaitingLine()
  readonly blockers = new Set<Blocker>()
  readonly clock: Clock
  readonly warn: (message: string) => void
  image: OpenImage = noImage
  limits: Limits = defaultLimits
  /** @internal End of the furthest write so far. */
  writtenUpTo = 0
  /** Present on a node whose format was guessed to be raw. */
  probeGuard: ProbeGuard | undefined
  readonly writeNotifiers: WriteNotifier[] = []
  readonly resizeListeners = new Set<(size: number) => void>()
  #toldSize = 0
  readonly dirtyBitmaps: DirtyBitmap[] = []
  /** @internal */
  readonly rangeLock = new RangeLock()
  /** @internal Writes of a guarded first sector, one after the other. */
  readonly guardLock = new RangeLock()
  /** @internal */
  simpleRead = false
  /** @internal */
  simpleWrite = false

  constructor(settings: NodeSettings) {
    this.name = settings.name
    this.driver = settings.driver
    this.options = settings.options
    this.filename = settings.filename
    this.readOnly = settings.readOnly
    this.cache = settings.cache
    this.discardMode = settings.discard
    this.detectZeroes = settings.detectZeroes
    this.forceShare = settings.forceShare
    this.children = new Map(settings.children)
    this.clock = settings.clock ?? systemClock
    this.warn = settings.warn ?? ignore
    Object.defineProperty(this, nodeBrand, { value: true })
  }

  /** Whether this stands for a missing medium. */
  get isEmpty(): boolean {
    return this.image === noImage
  }

  /** Virtual size in bytes. */
  get size(): number {
    return this.image.size
  }

  /** @internal Puts an opened image behind the node. */
  attachImage(image: OpenImage): void {
    this.image = image
    this.limits = resolveLimits(image.limits)
    this.#toldSize = image.size
    this.updatePaths()
  }

  /** @internal The options have changed, and with them what the image can do. */
  reopened(): void {
    this.refreshLimits()
    this.tellSize()
  }

  /** @internal The limits of the image, or those of a child that it follows, may be others than before. */
  refreshLimits(): void {
    this.limits = resolveLimits(this.image.limits)
    this.updatePaths()
    for (const { parent } of this.parents) if (!isRoot(parent)) parent.refreshLimits()
  }

  /** @internal Forgets the image, which is closed: requests fail with ENOMEDIUM from now on. */
  detachImage(): void {
    this.attachImage(noImage)
  }

  /** @internal Recomputes which requests may take the fast path. */
  updatePaths(): void {
    const aligned = this.limits.alignment === 1
    this.simpleRead = aligned
    this.simpleWrite =
      aligned &&
      !this.readOnly &&
      this.image.write !== undefined &&
      this.detectZeroes === 'off' &&
      this.probeGuard === undefined &&
      this.image.debugEvent === undefined &&
      this.writeNotifiers.length === 0 &&
      this.dirtyBitmaps.length === 0
  }

  read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.simpleRead && buf.length <= this.limits.maxTransfer) return this.image.read(offset, buf, flags, signal)
    return readRequest(this, offset, buf, flags, signal)
  }

  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.simpleWrite && buf.length <= this.limits.maxTransfer) {
      const end = offset + buf.length
      if (end > this.writtenUpTo) this.writtenUpTo = end
      const { image } = this
      if (flags === 0 || (flags & ~((image.writeFlags ?? 0) | Flag.Unchanged)) === 0) {
        const result = (image.write as NonNullable<OpenImage['write']>)(offset, buf, flags, signal)
        return end > this.#toldSize ? this.counting(result, end) : result
      }
    }
    return writeRequest(this, offset, buf, flags, signal)
  }

  /** @internal Waits for a change of what lies below `end`, which may have made the image grow. */
  async counting(change: Promise<void>, end: number): Promise<void> {
    if (end > this.writtenUpTo) this.writtenUpTo = end
    try {
      await change
    } finally {
      this.tellSize()
    }
  }

  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    return writeZeroesRequest(this, offset, length, flags, signal)
  }

  /** A hint: dropped when the node ignores discards or the image has none. */
  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return discardRequest(this, offset, length, signal)
  }

  /** Flushes the image's caches, then every child that may have been written. The first error is reported. */
  flush(signal?: AbortSignal): Promise<void> {
    if (this.cache.noFlush && this.driver.kind === 'protocol') return done
    const flush = this.image.flush
    if (this.children.size === 0) return flush === undefined ? done : flush.call(this.image, signal)
    return this.#flushWithChildren(signal)
  }

  async #flushWithChildren(signal?: AbortSignal): Promise<void> {
    const storage = this.storage
    await storage?.debugEvent('flush_to_os')
    // The children are flushed although the image could not be: what has reached them is worth keeping.
    const failures: unknown[] = []
    await attempt(() => this.image.flush?.(signal)).catch((error) => failures.push(error))
    if (!this.image.flushesChildren) {
      if (!this.cache.noFlush) await storage?.debugEvent('flush_to_disk')
      const flushes: Promise<void>[] = []
      for (const edge of this.children.values()) {
        const written = (edge.permissions & (Permission.Write | Permission.WriteUnchanged)) !== 0
        if (written) flushes.push(attempt(() => edge.flush(signal)))
      }
      for (const result of await Promise.allSettled(flushes)) {
        if (result.status === 'rejected') failures.push(result.reason)
      }
    }
    if (failures.length > 0) throw failures[0]
  }

  /** Sets the size. Runs drained. ENOTSUP when the image has a fixed size. */
  async truncate(size: number, options: TruncateOptions = {}, signal?: AbortSignal): Promise<void> {
    const { image } = this
    if (this.readOnly) throw readOnlyError(this)
    if (image.truncate === undefined) {
      throw new BlockError('ENOTSUP', 'Image format driver does not support resize', { node: this.name })
    }
    if (size < image.size) for (const notify of this.writeNotifiers) await notify(size, image.size - size, 'discard')
    try {
      await image.truncate(size, options, signal)
    } finally {
      this.tellSize()
    }
  }

  /** @internal Tells bitmaps, listeners and everything above when the size is another than they were told last. */
  tellSize(): void {
    const { size } = this.image
    if (size === this.#toldSize) return
    this.#toldSize = size
    for (const bitmap of this.dirtyBitmaps) bitmap.resize(size)
    for (const listener of this.resizeListeners) this.#tellListener(listener, size)
    for (const { parent } of this.parents) {
      if (isRoot(parent)) parent.resized()
      else parent.tellSize()
    }
  }

  #tellListener(listener: (size: number) => void, size: number): void {
    try {
      listener(size)
    } catch (error) {
      this.warn(`a listener of the size of ${this.describe()} failed: ${toBlockError(error).message}`)
    }
  }

  /**
   * Runs `work` that no request asked for (a copy in the background, a repair): a drained section waits for it, and
   * while one runs it waits for its turn.
   */
  async inBackground<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    // The section waits for an opening, which may be waiting for this.
    while (this.quiesced > 0 && !this.opening) await this.line.wait(signal)
    this.activity.enter()
    try {
      return await work()
    } finally {
      this.activity.leave()
    }
  }

  /** Status of this layer at `offset`, with what the storage below knows of its zeroes. */
  blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    return ownStatus(this, offset, length, signal)
  }

  async info(): Promise<DriverInfo> {
    return (await this.image.info?.()) ?? {}
  }

  /**
   * Calls `notifier` before every change from now on; the result takes it away again. Call it in a drained section:
   * requests that are in flight do not know of it.
   */
  addWriteNotifier(notifier: WriteNotifier): () => void {
    // A function may be there twice: each of them is an entry of its own.
    const entry: WriteNotifier = (...change) => notifier(...change)
    this.writeNotifiers.push(entry)
    this.updatePaths()
    return () => {
      takeOut(this.writeNotifiers, entry)
      this.updatePaths()
    }
  }

  /**
   * Starts to record which ranges change. `granularity` in bytes, a power of two. Call it in a drained section:
   * requests that are in flight are not recorded.
   */
  addDirtyBitmap(granularity = 65536, name?: string): DirtyBitmap {
    const bitmap = new DirtyBitmap(this.size, granularity, name)
    this.dirtyBitmaps.push(bitmap)
    this.updatePaths()
    return bitmap
  }

  removeDirtyBitmap(bitmap: DirtyBitmap): void {
    takeOut(this.dirtyBitmaps, bitmap)
    this.updatePaths()
  }

  /** The one child whose content a filter shows; undefined for other nodes. */
  get filtered(): Edge | undefined {
    for (const edge of this.children.values()) if (edge.role === 'filtered') return edge
    return undefined
  }

  /** The backing file. */
  get backing(): Edge | undefined {
    for (const edge of this.children.values()) if (edge.role === 'cow') return edge
    return undefined
  }

  /** The child that holds the content of this layer: `file`, or what a filter shows. */
  get storage(): Edge | undefined {
    return this.children.get('file') ?? this.filtered
  }

  /** The operation `name` that only some drivers have, of the nearest image from here downwards. ENOTSUP if none has it. */
  control(name: string): (...args: string[]) => unknown {
    const operation = this.image.control?.[name]
    if (operation !== undefined) return operation
    const { storage } = this
    if (storage === undefined) throw new BlockError('ENOTSUP', 'Operation not supported', { node: this.name })
    return storage.node.control(name)
  }

  /** How messages and conflicts name the node. */
  describe(): string {
    return `node '${this.name}'`
  }
}

function ignore(): void {}

/** Calls `work`; what it throws at once is a rejection, too. */
async function attempt(work: () => Promise<void> | undefined): Promise<void> {
  await work()
}

/** The error of a change of a read-only node. */
export function readOnlyError(node: Node): BlockError {
  return new BlockError('EPERM', `Block node '${node.name}' is read-only`, { node: node.name })
}

/** Takes `item` out of `list`, if it is there. */
function takeOut<T>(list: T[], item: T): void {
  const index = list.indexOf(item)
  if (index >= 0) list.splice(index, 1)
}
