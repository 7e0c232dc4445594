/**
 * One layer of a stack: a driver's open image, its modes and limits, and who hears of its changes. A node of the graph
 * is a layer with a place among others; the functions of `requests.ts` need the layer alone.
 */
import { alignDown, alignUp } from '../bytes.ts'
import { type Clock, systemClock } from '../clock.ts'
import type { BlockStatus, CacheOptions, FollowedReads, Limits, OpenImage } from '../contract/contract.ts'
import type { DriverDescriptor } from '../contract/descriptor.ts'
import { DirtyBitmap } from '../dirty-bitmap.ts'
import { BlockError } from '../errors.ts'
import { Listeners } from '../listeners.ts'
import { defaultLimits, resolveLimits } from './limits.ts'
import { RangeLock } from './range-lock.ts'

/** What a {@link WriteNotifier} is told about. */
export type WriteKind = 'write' | 'zeroes' | 'discard'

/** Called before a change of a range reaches the image; the change waits for it, and fails if it rejects. */
export type WriteNotifier = (offset: number, length: number, kind: WriteKind) => Promise<void> | void

/** Whether the first sector of a node, with these bytes, would be taken for a format that is not raw. */
type ProbeGuard = (head: Uint8Array) => boolean

/** What a layer is made of. */
export interface LayerSettings {
  readonly name: string
  readonly driver: DriverDescriptor
  readonly readOnly: boolean
  readonly cache: CacheOptions
  readonly discard: 'ignore' | 'unmap'
  readonly detectZeroes: 'off' | 'on' | 'unmap'
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

/** See the top of the file. */
export abstract class Layer {
  readonly name: string
  readonly driver: DriverDescriptor
  readOnly: boolean
  cache: CacheOptions
  discardMode: 'ignore' | 'unmap'
  detectZeroes: 'off' | 'on' | 'unmap'
  readonly clock: Clock
  readonly warn: (message: string) => void
  image: OpenImage = noImage
  limits: Limits = defaultLimits
  /** Where the furthest change so far ended, in bytes. */
  writtenUpTo = 0
  /** Present on a node whose format was guessed to be raw. */
  probeGuard: ProbeGuard | undefined
  readonly writeNotifiers: WriteNotifier[] = []
  readonly dirtyBitmaps: DirtyBitmap[] = []
  /** They hear of a new size. */
  readonly resizeListeners: Listeners<number>
  /** @internal */
  readonly rangeLock = new RangeLock()
  /** @internal Held by reads, shared, while somebody follows them. */
  readonly readLock = new RangeLock()
  /** @internal How many follow its reads. */
  readFollowers = 0
  /** @internal Writes of a guarded first sector, one after the other. */
  readonly guardLock = new RangeLock()
  /** @internal */
  simpleRead = false
  /** @internal */
  simpleWrite = false
  protected toldSize = 0

  constructor(settings: LayerSettings) {
    this.name = settings.name
    this.driver = settings.driver
    this.readOnly = settings.readOnly
    this.cache = settings.cache
    this.discardMode = settings.discard
    this.detectZeroes = settings.detectZeroes
    this.clock = settings.clock ?? systemClock
    this.warn = settings.warn ?? ignore
    this.resizeListeners = new Listeners(this.warn)
  }

  /** Flushes the image's caches and what lies below. */
  abstract flush(signal?: AbortSignal): Promise<void>

  /** Tells everything above of a new size. */
  protected abstract tellParents(): void

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
    for (const bitmap of this.image.bitmaps?.list ?? []) takeOut(this.dirtyBitmaps, bitmap)
    this.image = image
    this.dirtyBitmaps.push(...(image.bitmaps?.list ?? []))
    this.limits = resolveLimits(image.limits)
    this.toldSize = image.size
    this.updatePaths()
  }

  /** @internal Forgets the image, which is closed: requests fail with ENOMEDIUM from now on. */
  detachImage(): void {
    this.attachImage(noImage)
  }

  /** @internal Recomputes which requests may take the fast path. */
  updatePaths(): void {
    const aligned = this.limits.alignment === 1
    this.simpleRead = aligned && this.readFollowers === 0
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

  /** Tells bitmaps, listeners and everything above when the size is another than they were told last. */
  tellSize(): void {
    const { size } = this.image
    if (size === this.toldSize) return
    this.toldSize = size
    for (const bitmap of this.dirtyBitmaps) bitmap.resize(size)
    this.resizeListeners.tell(size, `the size of ${this.describe()}`)
    this.tellParents()
  }

  /** Status of the image's own content at `offset`, with what the storage below knows of its zeroes. */
  async blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    return withStorage(await this.imageStatus(offset, length, signal), signal)
  }

  /** What the image itself tells of `offset`, without asking the storage that it refers to. */
  async imageStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    const { image, limits } = this
    const { size } = image
    if (offset >= size) return { length, data: false, zero: true, allocated: false }
    const limited = Math.min(length, size - offset)
    if (image.blockStatus === undefined) {
      const place = this.driver.kind === 'protocol' ? { offset } : {}
      return { length: limited, data: true, zero: false, allocated: true, ...place }
    }
    const { alignment } = limits
    const start = alignDown(offset, alignment)
    const status = await image.blockStatus(start, alignUp(offset + limited, alignment) - start, signal)
    const skipped = offset - start
    return {
      ...status,
      length: Math.min(status.length - skipped, limited),
      ...(status.offset === undefined ? {} : { offset: status.offset + skipped }),
    }
  }

  /** Follows its reads; see `ChildHandle`. Reads that are in flight already are not known. */
  followReads(): FollowedReads {
    this.readFollowers++
    this.updatePaths()
    return {
      ended: async (offset, length) => this.readLock.release(await this.readLock.acquire(offset, length, true)),
      forget: () => {
        this.readFollowers--
        this.updatePaths()
      },
    }
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
    this.showDirtyBitmap(bitmap)
    return bitmap
  }

  /** Lists a bitmap of its size as one of its own, which records if it is enabled. Call it in a drained section. */
  showDirtyBitmap(bitmap: DirtyBitmap): void {
    this.dirtyBitmaps.push(bitmap)
    this.updatePaths()
  }

  /** The bitmap called `name`. ENOENT, with `message`, where there is none. */
  bitmap(name: string, message = `Dirty bitmap '${name}' not found`): DirtyBitmap {
    const bitmap = this.dirtyBitmaps.find((one) => one.name === name)
    if (bitmap === undefined) throw new BlockError('ENOENT', message, { node: this.name })
    return bitmap
  }

  /** Stops to record in `bitmap`; the result puts it back. Both belong into a drained section. */
  removeDirtyBitmap(bitmap: DirtyBitmap): () => void {
    const index = this.dirtyBitmaps.indexOf(bitmap)
    takeOut(this.dirtyBitmaps, bitmap)
    this.updatePaths()
    return () => {
      this.dirtyBitmaps.splice(index, 0, bitmap)
      this.updatePaths()
    }
  }

  /** How messages and conflicts name the node. */
  describe(): string {
    return `node '${this.name}'`
  }
}

function ignore(): void {}

/** The error of a change of a read-only node. */
export function readOnlyError({ name }: { readonly name: string }): BlockError {
  return new BlockError('EPERM', `Block node '${name}' is read-only`, { node: name })
}

/** What the file below knows: preallocated data may be a hole there, and of a filter or raw range it knows all. */
export async function withStorage(own: BlockStatus, signal?: AbortSignal): Promise<BlockStatus> {
  const { file, offset, recurse } = own
  if (recurse === undefined || !own.data || own.zero || file === undefined || offset === undefined) return own
  // A last sector that is not whole reads as zeroes, and is there.
  if (offset >= file.size) return { ...own, data: false, zero: true }
  const below = await file.blockStatus(offset, own.length, signal)
  const length = Math.min(own.length, below.length)
  if (recurse === 'zeroes') return { ...own, length, zero: below.zero }
  // A file stands for itself.
  return { ...below, length, ...(below.offset !== undefined && below.file === undefined ? { file } : {}) }
}

/** Takes `item` out of `list`, if it is there. */
function takeOut<T>(list: T[], item: T): void {
  const index = list.indexOf(item)
  if (index >= 0) list.splice(index, 1)
}
