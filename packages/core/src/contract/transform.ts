/**
 * The image of a filter that shows other bytes than its child holds (a cipher, say): extend it and say how bytes are
 * encoded and decoded. Nothing that is known of the child's bytes holds for those of the node, so nothing of it is
 * passed on: all is data, zeroes are written out, discards are dropped (they would read as decoded zeroes), compressed
 * data and copies without memory are refused, and a new range is filled with encoded zeroes.
 */
import { alignDown } from '../bytes.ts'
import {
  type BlockStatus,
  type ChildHandle,
  Flag,
  type Limits,
  type OpenImage,
  type TruncateOptions,
} from './contract.ts'
import type { DriverInfo } from './image-operations.ts'

const piece = 2 ** 20

/**
 * The base class of filters that show other bytes than their child holds (encryption, xor): give `decode` and `encode`.
 * Zeroes and holes of the child are no zeroes of the node, so it says data of everything and writes zeroes out.
 */
export abstract class Transform implements OpenImage {
  readonly file: ChildHandle
  readonly writeFlags: number = Flag.Fua
  readonly zeroInit = false
  readonly limits: Partial<Limits>
  readonly #unit: number

  /** `unit`: bytes that are encoded together (a sector of a cipher), a power of two; requests are multiples of it. */
  constructor(file: ChildHandle, unit = 1) {
    this.file = file
    this.#unit = unit
    const alignment = Math.max(unit, file.limits.alignment)
    this.limits = { alignment, maxTransfer: file.limits.maxTransfer, optimalTransfer: file.limits.optimalTransfer }
  }

  /** Turns `buf`, as the child holds it at `offset`, into what a reader gets, in place. */
  protected abstract decode(offset: number, buf: Uint8Array): Promise<void> | void

  /** Turns `buf`, which a writer gave, into what the child shall hold at `offset`, in place. */
  protected abstract encode(offset: number, buf: Uint8Array): Promise<void> | void

  get size(): number {
    return alignDown(this.file.size, this.#unit)
  }

  async read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    await this.file.read(offset, buf, 0, signal)
    await this.decode(offset, buf)
  }

  async write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const encoded = buf.slice()
    await this.encode(offset, encoded)
    return this.file.write(offset, encoded, flags & Flag.Fua, signal)
  }

  blockStatus(_offset: number, length: number, _signal?: AbortSignal): Promise<BlockStatus> {
    return Promise.resolve({ length, data: true, zero: false, allocated: true })
  }

  /** What is new is written as encoded zeroes; if that fails, the size is as it was. */
  async truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    const before = this.size
    await this.file.truncate(size, options, signal)
    try {
      for (let at = before; at < size; at += piece) {
        await this.write(at, new Uint8Array(Math.min(piece, size - at)), 0, signal)
      }
    } catch (error) {
      await this.file.truncate(before).catch(() => undefined)
      throw error
    }
  }

  async info(): Promise<DriverInfo> {
    const { allocatedSize } = await this.file.info()
    return allocatedSize === undefined ? {} : { allocatedSize }
  }
}
