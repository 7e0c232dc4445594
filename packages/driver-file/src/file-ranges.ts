import { type BlockStatus, Flag } from '@diskgraph/core/driver'
import { Fallocate, type Posix } from '@diskgraph/posix'
import { fileError } from './errors.ts'
import { Attempt, type Ranges, unsupportedRange } from './ranges.ts'
import { type WriteTarget, writeFully } from './transfer.ts'

/** A file that knows its size. */
interface SizedTarget extends WriteTarget {
  readonly size: number
}

const zeroByte = new Uint8Array(1)

/**
 * Ranges of a regular file. Zeroes are made in this order: a hole where deallocating is welcome, an unwritten extent
 * (`FALLOC_FL_ZERO_RANGE`), a hole that is allocated again.
 *
 * Looking for the end of data walks over all of it on some file systems, so the last data extent is remembered. It
 * is only ever wrong in saying data where a hole was made elsewhere, which is harmless.
 */
export class FileRanges implements Ranges {
  readonly #posix: Posix
  readonly #file: SizedTarget
  readonly #punch = new Attempt()
  readonly #zeroRange = new Attempt()
  readonly #allocate = new Attempt()
  #dataStart = 0
  #dataEnd = 0

  constructor(posix: Posix, file: SizedTarget) {
    this.#posix = posix
    this.#file = file
  }

  async writeZeroes(offset: number, length: number, flags: number): Promise<void> {
    this.forget()
    try {
      if ((flags & Flag.MayUnmap) !== 0 && (await this.#tryPunch(offset, length))) {
        return await this.#growTo(offset + length)
      }
      if (await this.#zeroRange.run(() => this.#fallocate(Fallocate.ZeroRange, offset, length))) return
      if (
        (await this.#tryPunch(offset, length)) &&
        (await this.#allocate.run(() => this.#fallocate(Fallocate.Allocate, offset, length)))
      ) {
        return
      }
    } catch (error) {
      throw fileError(error, `cannot zero ${length} bytes at ${offset} of '${this.#file.filename}'`)
    } finally {
      this.forget()
    }
    throw unsupportedRange('zeroing', this.#file.filename)
  }

  async discard(offset: number, length: number): Promise<void> {
    this.forget()
    try {
      if (await this.#tryPunch(offset, length)) return
    } catch (error) {
      throw fileError(error, `cannot discard ${length} bytes at ${offset} of '${this.#file.filename}'`)
    } finally {
      this.forget()
    }
    throw unsupportedRange('discarding', this.#file.filename)
  }

  status(offset: number, length: number): BlockStatus {
    const dataEnd = this.#findDataEnd(offset)
    if (dataEnd > offset) return extent(offset, Math.min(length, dataEnd - offset), true)
    const holeEnd = -dataEnd
    return extent(offset, Math.min(length, holeEnd - offset), false)
  }

  forget(): void {
    this.#dataStart = 0
    this.#dataEnd = 0
  }

  /** The end of the data that begins at or before `offset`; negative: the end of a hole there. */
  #findDataEnd(offset: number): number {
    if (offset >= this.#dataStart && offset < this.#dataEnd) return this.#dataEnd
    const { fd } = this.#file
    try {
      const data = this.#posix.seekData(fd, offset)
      if (data === -1) return Number.NEGATIVE_INFINITY
      if (data > offset) return -data
      const hole = this.#posix.seekHole(fd, offset)
      if (hole <= offset) return Number.POSITIVE_INFINITY // It changed between the two questions.
      this.#dataStart = offset
      this.#dataEnd = hole
      return hole
    } catch {
      return Number.POSITIVE_INFINITY // The file system cannot tell: all of it is data.
    }
  }

  #tryPunch(offset: number, length: number): Promise<boolean> {
    return this.#punch.run(() => this.#fallocate(Fallocate.PunchHole, offset, length))
  }

  #fallocate(mode: number, offset: number, length: number): Promise<void> {
    return this.#posix.fallocate(this.#file.fd, mode, offset, length)
  }

  /**
   * Makes the file reach to `end` at least. Not by `ftruncate`, which would cut off what another request wrote behind
   * `end` meanwhile, and by a write only as the last resort, because direct access takes no single byte.
   */
  async #growTo(end: number): Promise<void> {
    if (end <= this.#file.size) return
    if (await this.#allocate.run(() => this.#fallocate(Fallocate.Allocate, end - 1, 1))) return
    await writeFully(this.#file, zeroByte, end - 1)
  }
}

function extent(offset: number, length: number, data: boolean): BlockStatus {
  return { length, data, zero: !data, allocated: true, offset }
}
