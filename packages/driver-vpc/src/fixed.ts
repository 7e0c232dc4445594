/** A fixed image: the disk, and a footer behind it. */
import {
  type BlockStatus,
  type ChildHandle,
  type DriverInfo,
  Flag,
  type OpenImage,
  type Prepared,
} from '@diskgraph/core/driver'

/** See the top of this file. */
export class FixedImage implements OpenImage {
  readonly writeFlags = Flag.Fua | Flag.Unchanged
  readonly zeroFlags = Flag.Fua | Flag.MayUnmap | Flag.NoFallback | Flag.Unchanged
  readonly size: number
  readonly #file: ChildHandle
  readonly #uuid: string

  constructor(file: ChildHandle, size: number, uuid: string) {
    this.#file = file
    this.#uuid = uuid
    this.size = size
  }

  read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#file.read(offset, buf, flags, signal)
  }

  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#file.write(offset, buf, flags, signal)
  }

  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#file.writeZeroes(offset, length, flags, signal)
  }

  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.#file.discard(offset, length, signal)
  }

  blockStatus(offset: number, length: number): Promise<BlockStatus> {
    return Promise.resolve({
      length,
      data: true,
      zero: false,
      allocated: true,
      offset,
      file: this.#file,
      recurse: 'all',
    })
  }

  info(): Promise<DriverInfo> {
    return Promise.resolve({ dirty: false, contentId: this.#uuid })
  }

  reopen(): Promise<Prepared> {
    return Promise.resolve({ commit: () => {}, abort: () => {} })
  }
}
