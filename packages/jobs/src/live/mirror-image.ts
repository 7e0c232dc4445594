/** The filter of a mirror: what is written to the disk is to be copied, or goes along to the target at once. */
import { alignDown, alignUp, type ChildHandle, isAligned } from '@diskgraph/core/driver'
import { CopyFilter, type CopyFilterSettings } from './copy-filter.ts'

/** When a guest's write reaches the target: some time later, or before it ends. */
export type CopyMode = 'background' | 'write-blocking'

/** How the image of the filter copies. */
interface MirrorImageSettings extends CopyFilterSettings {
  /** Bytes of the target that are copied as a whole. */
  readonly unit: number
}

/** See the top of the file. */
export class MirrorImage extends CopyFilter {
  copyMode: CopyMode
  readonly #unit: number
  onDirty: (() => void) | undefined
  /** Writes under way that are to be copied later. */
  readonly #later = new Set<Promise<void>>()
  readonly #onFailure: (error: unknown) => void

  constructor(
    file: ChildHandle,
    target: ChildHandle,
    settings: MirrorImageSettings,
    copyMode: CopyMode,
    onFailure: (error: unknown) => void,
  ) {
    super(file, target, settings)
    this.#unit = settings.unit
    this.copyMode = copyMode
    // Those who look at it see whether writes are recorded to be copied; what is recorded is marked here in any case.
    this.units.dirty.enabled = copyMode === 'background'
    this.#onFailure = onFailure
  }

  /** Lets writes go along to the target from now on. */
  writeAlong(): void {
    this.copyMode = 'write-blocking'
    this.units.dirty.enabled = false
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#change(
      offset,
      buf.length,
      () => super.write(offset, buf, flags, signal),
      () => this.target.write(offset, buf, 0),
    )
  }

  override writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#change(
      offset,
      length,
      () => super.writeZeroes(offset, length, flags, signal),
      () => this.target.writeZeroes(offset, length, 0),
    )
  }

  /** What a discarded range holds is the disk's to say: it is copied like data. */
  override discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.#change(offset, length, () => super.discard(offset, length, signal), undefined)
  }

  async #change(
    offset: number,
    length: number,
    change: () => Promise<void>,
    along: (() => Promise<void>) | undefined,
  ): Promise<void> {
    if (this.copyMode === 'background') {
      const write = this.#changeLater(offset, length, change)
      this.#later.add(write)
      try {
        return await write
      } finally {
        this.#later.delete(write)
      }
    }
    // Those that began before writes went along hold no lock, and one that ended later here would not be copied.
    if (this.#later.size > 0) await Promise.allSettled(this.#later)
    // Two writes of one place must reach both disks in one order, and none may come between the halves of a copy.
    const hold = await this.units.lock.acquire(offset, length, true)
    let done = false
    try {
      await change()
      done = along !== undefined && (await this.#alongside(along))
    } finally {
      const isWhole = isAligned(offset, this.#unit) && isAligned(length, this.#unit)
      if (done && isWhole) this.units.dirty.clear(offset, length)
      else this.#mark(offset, length)
      this.units.lock.release(hold)
    }
  }

  async #changeLater(offset: number, length: number, change: () => Promise<void>): Promise<void> {
    try {
      await change()
    } finally {
      this.#mark(offset, length)
    }
  }

  async #alongside(along: () => Promise<void>): Promise<boolean> {
    try {
      await along()
      return true
    } catch (error) {
      this.#onFailure(error)
      return false
    }
  }

  #mark(offset: number, length: number): void {
    this.set(offset, length)
    this.onDirty?.()
  }

  /** Marks what is to be copied. */
  set(offset: number, length: number): void {
    const start = alignDown(offset, this.#unit)
    this.units.dirty.set(start, alignUp(offset + length, this.#unit) - start)
  }
}
