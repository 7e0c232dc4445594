/**
 * What is still to be copied, by units, and the copying of it.
 *
 * A copy holds its units exclusively from before their bits are cleared until it has ended, and sets the bits again if
 * it fails. Bits are cleared before anything is asked of the source, its block status too, so a change that comes in
 * between is not forgotten: who changes the source marks what it has changed.
 */
import { alignDown, alignUp, DirtyBitmap, errorCodeOf, RangeLock } from '@diskgraph/core/driver'
import type { Range } from '../engine/source.ts'
import type { Transfer } from '../engine/transfer.ts'

/** Longest piece that is read and written at once. */
const pieceLength = 2 ** 20

/** What copies are made of. */
interface UnitSettings {
  readonly size: number
  /** Bytes that are copied together; a power of two. */
  readonly granularity: number
  readonly transfer: Transfer
  /** Longest piece, in bytes. Default, and 0: 1 MiB. */
  readonly longest?: number | undefined
  /** What is to be done with the range that begins at `offset`, `length` bytes long at most. */
  contentAt(offset: number, length: number): Promise<Omit<Range, 'offset'>>
  /** Awaited when a range has been copied, before its units are given free. */
  copied?: ((offset: number, length: number) => Promise<void>) | undefined
}

/** See the top of the file. */
export class Units {
  /** What is to be copied. */
  readonly dirty: DirtyBitmap
  /** Held exclusively by copies, and by changes that none may come between. */
  readonly lock = new RangeLock()
  /** Hears how much has been copied, whoever asked for it. */
  onCopied: ((length: number) => void) | undefined
  readonly #settings: UnitSettings
  #copies = 0
  readonly #idle: (() => void)[] = []

  constructor(settings: UnitSettings) {
    this.#settings = settings
    this.dirty = new DirtyBitmap(settings.size, settings.granularity)
    // Where it is listed among those of a node it is still marked from here alone.
    this.dirty.enabled = false
  }

  get longest(): number {
    const { granularity, longest } = this.#settings
    return Math.max(Math.min(pieceLength, longest || pieceLength), granularity)
  }

  /** Copies what is dirty from `offset` on, `length` bytes widened to whole units. `buffer` makes one of {@link longest}. */
  async copy(offset: number, length: number, buffer?: () => Uint8Array): Promise<void> {
    const { dirty } = this
    const { granularity } = this.#settings
    const start = alignDown(offset, granularity)
    const end = Math.min(alignUp(offset + length, granularity), dirty.size)
    const hold = await this.lock.acquire(start, end - start, true)
    this.#copies++
    try {
      // What is marked again meanwhile is left to the next one, or this would go on for as long as somebody writes.
      for (let run = dirty.next(start, this.longest); run !== undefined && run.offset < end; ) {
        const length = Math.min(run.length, end - run.offset)
        await this.#copyRun(run.offset, length, buffer)
        run = dirty.next(run.offset + length, this.longest)
      }
    } finally {
      this.#copies--
      this.lock.release(hold)
      if (this.#copies === 0) for (const wake of this.#idle.splice(0)) wake()
    }
  }

  /** Whether something of the range is to be copied, whole units counted. */
  holdsDirty(offset: number, length: number): boolean {
    return this.dirty.nextDirty(alignDown(offset, this.dirty.granularity), offset + length) !== undefined
  }

  /** Whether a copy is in flight, whoever asked for it: until it has ended what is not dirty may become so again. */
  get busy(): boolean {
    return this.#copies > 0
  }

  /** Resolves when {@link busy} has ended. It may have begun again by then. */
  idle(): Promise<void> {
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Copies a run, extent by extent. One that fails costs its own units alone: they are dirty again, and its error comes last. */
  async #copyRun(offset: number, length: number, buffer: (() => Uint8Array) | undefined): Promise<void> {
    const { granularity } = this.#settings
    this.dirty.clear(offset, length)
    const end = offset + length
    let failure: { readonly error: unknown } | undefined
    let from = offset
    for (let at = offset; at < end; ) {
      const extent = { offset: at, length: end - at }
      try {
        await this.#copyExtent(extent, buffer)
        at += extent.length
      } catch (error) {
        failure ??= { error }
        // Where it was given up, nothing more is tried.
        const failed =
          errorCodeOf(error) === 'ECANCELED' ? end : Math.min(alignUp(at + extent.length, granularity), end)
        const start = alignDown(at, granularity)
        this.dirty.set(start, failed - start)
        await this.#tellCopied(from, start)
        at = failed
        from = failed
      }
    }
    await this.#tellCopied(from, end)
    if (failure !== undefined) throw failure.error
  }

  /** Copies the start of `extent` that is of one kind, in whole units where it fills any, and makes it that long. */
  async #copyExtent(extent: { offset: number; length: number }, buffer: (() => Uint8Array) | undefined): Promise<void> {
    const { transfer, contentAt, granularity } = this.#settings
    const { offset } = extent
    const { content, length: known } = await contentAt(offset, extent.length)
    const length = Math.max(alignDown(offset + known, granularity) - offset, 0) || known
    extent.length = length
    const range = { offset, length, content }
    if (content === 'zero') await transfer.zero(range)
    else if (content === 'data') await transfer.copy(range, (buffer?.() ?? new Uint8Array(length)).subarray(0, length))
  }

  async #tellCopied(start: number, end: number): Promise<void> {
    if (start === end) return
    await this.#settings.copied?.(start, end - start)
    this.onCopied?.(end - start)
  }
}
