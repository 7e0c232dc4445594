/**
 * One open file or block device.
 *
 * Requests may overlap freely; the kernel orders what touches the same bytes. The size grows when a write that
 * passes the end has completed. `fd` changes only on reopen, when nothing is in flight. What Node lacks is left out
 * as a method where native access is missing: the core then emulates zeroes and drops discards.
 */
import {
  abortedError,
  alignUp,
  BlockError,
  type BlockStatus,
  type DriverInfo,
  Flag,
  type Limits,
  type OpenImage,
  type Prepared,
  type RemovableMedium,
  type ReopenChange,
  type TruncateOptions,
  throwIfAborted,
} from '@diskgraph/core/driver'
import type { Posix } from '@diskgraph/posix'
import { CachedReader, cachedReadMax, settleCached } from './cached-reader.ts'
import { close, stat, syncData } from './calls.ts'
import { copyBetween } from './copy.ts'
import type { DescriptorSets } from './descriptor-sets.ts'
import type { DeviceKind } from './device-names.ts'
import { DeviceRanges } from './device-ranges.ts'
import { DirectTransfer } from './direct.ts'
import { CdromDrive, FloppyDrive } from './drive.ts'
import { fileError } from './errors.ts'
import { FileRanges } from './file-ranges.ts'
import { Flusher } from './flush.ts'
import { ImageLocks } from './locks.ts'
import { type Resize, resizeFile } from './preallocation.ts'
import { PromptWriter } from './prompt-writes.ts'
import type { Ranges } from './ranges.ts'
import { prepareReopen, withBuffered } from './reopen.ts'
import { readFully, writeFully } from './transfer.ts'

/** The drivers of this package. */
export type FileKind = 'file' | DeviceKind

/** What a {@link FileImage} is made of. */
interface FileState {
  readonly kind: FileKind
  readonly fd: number
  readonly filename: string
  readonly size: number
  readonly identity: string
  /** Unit of direct requests; undefined: through the page cache. */
  readonly directUnit: number | undefined
  /** What zeroed and discarded ranges are multiples of. */
  readonly rangeUnit: number
  readonly locking: boolean
  readonly dropCache: boolean
  /** Null, too, where the device is one of characters. */
  readonly posix: Posix | null
  /** Where the descriptor comes from, if it stands for a file. */
  readonly sets: DescriptorSets | undefined
}

/** A file or block device of the host. Made by `openImage`. */
export class FileImage implements OpenImage {
  readonly kind: FileKind
  readonly filename: string
  readonly identity: string
  readonly zeroInit: boolean
  readonly zeroFlags = Flag.MayUnmap | Flag.NoFallback
  readonly permissions?: ImageLocks
  readonly medium?: RemovableMedium
  readonly sets: DescriptorSets | undefined
  /** The size now; writes, zeroes and copies behind the end move it. */
  size: number
  /** The open descriptor. */
  fd: number
  readonly #posix: Posix | null
  readonly #cached: CachedReader | undefined
  readonly #prompt: PromptWriter | undefined
  readonly #ranges: Ranges | undefined
  readonly #flusher: Flusher
  readonly #dropCache: boolean
  readonly #rangeUnit: number
  #direct: DirectTransfer | undefined
  readonly #discards = { discardNbOk: 0, discardNbFailed: 0, discardBytesOk: 0 }
  readonly writeZeroes?: OpenImage['writeZeroes']
  readonly discard?: OpenImage['discard']

  constructor(state: FileState) {
    const { kind, fd, filename, posix } = state
    this.kind = kind
    this.fd = fd
    this.filename = filename
    this.size = state.size
    this.sets = state.sets
    this.identity = state.identity
    this.zeroInit = kind === 'file'
    this.#posix = posix
    this.#dropCache = state.dropCache
    this.#rangeUnit = state.rangeUnit
    this.#direct = state.directUnit === undefined ? undefined : new DirectTransfer(state.directUnit)
    this.#flusher = new Flusher(this, this.#direct !== undefined)
    if (posix === null) return
    if (kind === 'host_cdrom') this.medium = new CdromDrive(posix, this)
    if (kind === 'host_floppy') this.medium = new FloppyDrive(posix, this)
    if (state.locking) this.permissions = new ImageLocks(posix, fd, filename)
    this.#cached = new CachedReader(posix)
    if (kind === 'file' && this.#cached.knows(fd)) this.#prompt = PromptWriter.ifAllowed()
    this.#ranges = kind === 'file' ? new FileRanges(posix, this) : new DeviceRanges(posix, this)
    this.writeZeroes = this.#writeZeroes
    this.discard = this.#discard
  }

  get limits(): Partial<Limits> {
    const unit = this.#direct?.unit ?? 1
    const rangeUnit = Math.max(unit, this.#rangeUnit)
    return { alignment: unit, writeZeroesAlignment: rangeUnit, discardAlignment: rangeUnit }
  }

  read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(abortedError(signal))
    if (this.#direct !== undefined) return this.#direct.read(this, offset, buf, signal)
    const { byteLength } = buf
    if (byteLength > cachedReadMax || this.#cached === undefined) return readFully(this, buf, 0, offset)
    const ready = this.#cached.read(this.fd, buf, offset)
    if (ready === byteLength) return settleCached(byteLength)
    if (ready > 0 && offset + ready >= this.size) {
      buf.fill(0, ready)
      return settleCached(byteLength)
    }
    return readFully(this, buf, ready, offset)
  }

  write(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(abortedError(signal))
    if (this.#direct !== undefined) return this.#direct.write(this, offset, buf, signal)
    const end = offset + buf.byteLength
    if (this.#prompt !== undefined && end <= this.size && this.#prompt.write(this.fd, buf, offset)) {
      this.written(end)
      return settleCached(buf.byteLength)
    }
    return writeFully(this, buf, offset)
  }

  async #writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    try {
      await (this.#ranges as Ranges).writeZeroes(offset, length, flags)
      this.written(offset + length)
    } finally {
      this.#flusher.markDirty()
    }
  }

  async #discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    try {
      await (this.#ranges as Ranges).discard(offset, length)
      this.#discards.discardNbOk++
      this.#discards.discardBytesOk += length
    } catch (error) {
      this.#discards.discardNbFailed++
      throw error
    } finally {
      this.#flusher.markDirty()
    }
  }

  flush(): Promise<void> {
    return this.#flusher.flush()
  }

  blockStatus(offset: number, length: number): Promise<BlockStatus> {
    if (this.#ranges === undefined) {
      return Promise.resolve({ length, data: true, zero: false, allocated: true, offset })
    }
    const status = this.#ranges.status(offset, length)
    const unit = this.#direct?.unit ?? 1
    // A hole or data may end between two units, at the end of the file above all.
    if (unit === 1 || status.length === length) return Promise.resolve(status)
    return Promise.resolve({ ...status, length: Math.min(length, alignUp(status.length, unit)) })
  }

  /** Copies to another file or block device of this process inside the kernel. */
  async copyRange(
    offset: number,
    target: OpenImage,
    targetOffset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<void> {
    if (this.#posix === null || !(target instanceof FileImage)) {
      throw new BlockError('ENOTSUP', 'copying without memory needs two files and native access')
    }
    try {
      const from = { file: this, offset }
      await copyBetween(this.#posix, from, { file: target, offset: targetOffset }, length, signal)
      target.written(targetOffset + length)
    } finally {
      target.changed()
    }
  }

  async truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    if (this.kind !== 'file') return this.#truncateDevice(size, options.exact === true)
    const preallocation = options.preallocation ?? 'off'
    this.#ranges?.forget()
    const resize = { from: this.size, to: size, preallocation }
    try {
      // Preallocation and the first block are written at any length, which direct access would not take.
      if (this.#direct === undefined || (preallocation === 'off' && this.size > 0))
        await this.#resize(this.fd, resize, signal)
      else await withBuffered(this, (fd) => this.#resize(fd, resize, signal))
      this.size = size
    } finally {
      this.#flusher.markDirty()
    }
  }

  /** Zeroes written for preallocation do not count before all of them are there. */
  #resize(fd: number, resize: Resize, signal?: AbortSignal): Promise<void> {
    return resizeFile({ fd, filename: this.filename, written: () => {} }, resize, signal)
  }

  async #truncateDevice(size: number, exact: boolean): Promise<void> {
    await this.#refreshSize()
    if (size !== this.size && exact) throw new BlockError('ENOTSUP', 'Cannot resize device files')
    if (size > this.size) throw new BlockError('EINVAL', 'Cannot grow device files')
  }

  async invalidateCache(): Promise<void> {
    this.#ranges?.forget()
    await this.#refreshSize()
    if (this.#posix === null || !this.#dropCache || this.#direct !== undefined) return
    try {
      await syncData(this.fd)
      this.#posix.dropCache(this.fd)
    } catch (error) {
      throw fileError(error, `cannot drop the cache of '${this.filename}'`)
    }
  }

  async info(): Promise<DriverInfo> {
    try {
      return { allocatedSize: Number((await stat(this.fd)).blocks) * 512 }
    } catch (error) {
      throw fileError(error, `cannot ask for the status of '${this.filename}'`)
    }
  }

  /** QAPI's BlockStatsSpecificFile. */
  statistics(): Readonly<Record<string, number>> {
    return this.#discards
  }

  /** Opens the file again, as a change of read-only or cache mode needs and as a failed flush calls for. */
  async reopen(change: ReopenChange): Promise<Prepared> {
    const { fd, directUnit } = await prepareReopen(this, change)
    return {
      commit: () => {
        try {
          this.permissions?.moveTo(fd)
        } catch {
          // Shared locks that another descriptor holds are only refused where locks as such have failed.
        }
        const old = this.fd
        this.fd = fd
        this.#direct = directUnit === undefined ? undefined : new DirectTransfer(directUnit)
        this.#flusher.reset(directUnit !== undefined)
        // Nothing is delayed that a flush has not reported or will not report on the new descriptor.
        this.#release(old).catch(() => {})
      },
      abort: () => {
        this.#release(fd).catch(() => {})
      },
    }
  }

  async close(): Promise<void> {
    try {
      await this.#release(this.fd)
    } catch (error) {
      throw fileError(error, `cannot close '${this.filename}'`)
    }
  }

  #release(fd: number): Promise<void> {
    this.sets?.release(fd)
    return close(fd)
  }

  /** A write that reaches to `end` has completed. */
  written(end: number): void {
    if (end > this.size) this.size = end
    this.#flusher.markDirty()
  }

  /** The file was changed, perhaps partly, by other ways than a write. */
  changed(): void {
    this.#ranges?.forget()
    this.#flusher.markDirty()
  }

  async #refreshSize(): Promise<void> {
    try {
      if (this.kind === 'file') this.size = Number((await stat(this.fd)).size)
      else if (this.#posix !== null) this.size = this.#posix.deviceSize(this.fd)
    } catch (error) {
      throw fileError(error, `cannot ask for the size of '${this.filename}'`)
    }
  }
}
