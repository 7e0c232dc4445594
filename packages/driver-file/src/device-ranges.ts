import { type BlockStatus, Flag } from '@diskgraph/core/driver'
import { Fallocate, type Posix } from '@diskgraph/posix'
import { fileError } from './errors.ts'
import { Attempt, type Ranges, unsupportedRange } from './ranges.ts'
import type { Target } from './transfer.ts'

/** Ranges of a block device: all of it is data, zeroes are made by the device or by the kernel for it. */
export class DeviceRanges implements Ranges {
  readonly #posix: Posix
  readonly #device: Target
  readonly #punch = new Attempt()
  readonly #zero = new Attempt()
  readonly #discard = new Attempt()

  constructor(posix: Posix, device: Target) {
    this.#posix = posix
    this.#device = device
  }

  async writeZeroes(offset: number, length: number, flags: number): Promise<void> {
    const { fd, filename } = this.#device
    try {
      if ((flags & Flag.MayUnmap) !== 0) {
        const punch = () => this.#posix.fallocate(fd, Fallocate.PunchHole, offset, length)
        if (await this.#punch.run(punch)) return
      }
      // The kernel may write the zeroes, which is what NoFallback asks not to happen.
      if ((flags & Flag.NoFallback) === 0) {
        if (await this.#zero.run(() => this.#posix.zeroBlocks(fd, offset, length))) return
      }
    } catch (error) {
      throw fileError(error, `cannot zero ${length} bytes at ${offset} of '${filename}'`)
    }
    throw unsupportedRange('zeroing', filename)
  }

  async discard(offset: number, length: number): Promise<void> {
    const { fd, filename } = this.#device
    try {
      if (await this.#discard.run(() => this.#posix.discardBlocks(fd, offset, length))) return
    } catch (error) {
      throw fileError(error, `cannot discard ${length} bytes at ${offset} of '${filename}'`)
    }
    throw unsupportedRange('discarding', filename)
  }

  status(offset: number, length: number): BlockStatus {
    return { length, data: true, zero: false, allocated: true, offset }
  }

  forget(): void {}
}
