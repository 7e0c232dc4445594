/**
 * The point in time that a `copy-before-write` filter keeps: by units, either the disk still has it, or the target does.
 *
 * A unit is copied while it is held exclusively, before the first change of it; its bit is cleared when the target has
 * it. Who reads the point in time from the disk holds the unit shared meanwhile, so a change of it waits. What is not
 * `todo` any more is read from the target and needs no lock: it is never written again.
 */
import {
  alignDown,
  alignUp,
  BlockError,
  type BlockStatus,
  type ChildHandle,
  type Clock,
  DirtyBitmap,
  type FollowedReads,
  RangeLock,
} from '@diskgraph/core/driver'

/** How the point in time is kept. */
interface SnapshotSettings {
  readonly file: ChildHandle
  readonly target: ChildHandle
  /** Bytes that are copied together; a power of two. */
  readonly unit: number
  /** Milliseconds that a copy may take; 0: any number. */
  readonly timeout: number
  readonly clock: Clock
  /** What is kept. Default: all. */
  readonly kept?: DirtyBitmap | undefined
}

const longest = 2 ** 20

/** See the top of the file. */
export class Snapshot {
  readonly #settings: SnapshotSettings
  /** What the target does not have. */
  readonly #todo: DirtyBitmap
  /** What is kept. */
  readonly #all: DirtyBitmap
  readonly #lock = new RangeLock()
  /** The target may have the disk below it: who reads there reads the disk where the target has nothing yet. */
  readonly #targetReads: FollowedReads
  /** Why it is given up. */
  #broken: BlockError | undefined

  constructor(settings: SnapshotSettings) {
    this.#settings = settings
    const { file, target, unit, kept } = settings
    this.#todo = new DirtyBitmap(file.size, unit)
    if (kept === undefined) this.#todo.set(0, file.size)
    else this.#todo.merge(kept)
    this.#all = new DirtyBitmap(file.size, unit)
    this.#all.merge(this.#todo)
    this.#targetReads = target.followReads()
  }

  close(): void {
    this.#targetReads.forget()
  }

  /** Gives it up: reads of it fail from now on, and nothing is copied any more. */
  giveUp(reason: BlockError): void {
    this.#broken ??= reason
  }

  /** Copies what a change of the range would be the first to change. */
  async keep(offset: number, length: number): Promise<void> {
    const { unit, file } = this.#settings
    const start = alignDown(offset, unit)
    const end = Math.min(alignUp(offset + length, unit), file.size)
    if (this.#broken !== undefined || start >= end) return
    const hold = await this.#lock.acquire(start, end - start, true)
    let copy: Promise<void> = Promise.resolve()
    try {
      for (let run = this.#todo.nextDirty(start, end); run !== undefined; run = this.#todo.nextDirty(start, end)) {
        const { offset: at } = run
        const piece = Math.min(run.length, Math.max(unit, longest))
        copy = this.#copy(at, piece).then(() => this.#todo.clear(at, piece))
        await this.#inTime(copy)
      }
    } finally {
      // A copy that took too long goes on, and nobody writes below it meanwhile: it would keep what they write.
      const release = (): void => this.#lock.release(hold)
      copy.then(release, release)
    }
  }

  async #copy(offset: number, length: number): Promise<void> {
    const { file, target } = this.#settings
    for (let at = offset; at < offset + length; ) {
      const status = await file.chainStatus(at, offset + length - at)
      if (status.zero) await target.writeZeroes(at, status.length)
      else {
        const buf = new Uint8Array(status.length)
        await file.read(at, buf)
        await target.write(at, buf)
      }
      at += status.length
    }
    await this.#targetReads.ended(offset, length)
  }

  /** `copy`, or ETIMEDOUT when it takes too long: it goes on. */
  #inTime(copy: Promise<void>): Promise<void> {
    const { timeout, clock } = this.#settings
    if (timeout === 0) return copy
    return new Promise((resolve, reject) => {
      const cancel = clock.timeout(timeout, () =>
        reject(new BlockError('ETIMEDOUT', `old data could not be kept within ${timeout / 1000} s`)),
      )
      copy.finally(cancel).then(resolve, reject)
    })
  }

  /** Fills `buf` with what the disk held at the point in time. EACCES when that is given up. */
  async read(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
    const { file, target } = this.#settings
    const hold = await this.#lock.acquire(offset, buf.length, false)
    try {
      this.#mustHold(offset, buf.length)
      for (let at = 0; at < buf.length; ) {
        this.#mustBeKept()
        const { length, kept } = this.#part(offset + at, buf.length - at)
        await (kept ? target : file).read(offset + at, buf.subarray(at, at + length), 0, signal)
        at += length
      }
    } finally {
      this.#lock.release(hold)
    }
    this.#mustBeKept()
  }

  /** What the disk held at the point in time. */
  async status(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    this.#mustBeKept()
    const { file, target } = this.#settings
    this.#mustHold(offset, 1)
    const hold = await this.#lock.acquire(offset, length, false)
    try {
      const part = this.#part(offset, length)
      const status = await (part.kept ? target : file).chainStatus(offset, part.length, signal)
      return { ...status, allocated: true }
    } finally {
      this.#lock.release(hold)
    }
  }

  /** How far from `offset` on the same one has it, and whether that is the target. */
  #part(offset: number, length: number): { readonly length: number; readonly kept: boolean } {
    const end = this.#all.nextClean(offset, offset + length)?.offset ?? offset + length
    const kept = !this.#todo.get(offset)
    const next = kept ? this.#todo.nextDirty(offset, end) : this.#todo.nextClean(offset, end)
    return { length: (next?.offset ?? end) - offset, kept }
  }

  #mustHold(offset: number, length: number): void {
    if (this.#all.nextClean(offset, offset + length) === undefined) return
    throw new BlockError('EACCES', 'the range is not part of the point in time: the bitmap of the filter leaves it out')
  }

  #mustBeKept(): void {
    if (this.#broken === undefined) return
    throw new BlockError('EACCES', `the point in time is given up: ${this.#broken.message}`, { cause: this.#broken })
  }
}
