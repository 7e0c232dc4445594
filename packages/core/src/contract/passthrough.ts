/** The image of a filter that changes nothing: extend it and override what the filter is about. */

import type { BlockStatus, ChildHandle, Limits, OpenImage, TruncateOptions } from './contract.ts'
import { Flag } from './contract.ts'
import type { DriverInfo } from './image-operations.ts'

/** Forwards every request to one child. */
export class Passthrough implements OpenImage {
  readonly file: ChildHandle
  readonly zeroFlags: number = Flag.Fua | Flag.MayUnmap | Flag.NoFallback | Flag.Unchanged

  constructor(file: ChildHandle) {
    this.file = file
  }

  get size(): number {
    return this.file.size
  }

  /** Compression is the image's own; the core does the rest for it where it has to. */
  get writeFlags(): number {
    return Flag.Fua | Flag.Unchanged | (this.file.writeFlags & Flag.Compressed)
  }

  get limits(): Partial<Limits> {
    return this.file.limits
  }

  get zeroInit(): boolean {
    return this.file.zeroInit
  }

  read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.file.read(offset, buf, flags, signal)
  }

  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.file.write(offset, buf, flags, signal)
  }

  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    return this.file.writeZeroes(offset, length, flags, signal)
  }

  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.file.discard(offset, length, signal)
  }

  blockStatus(offset: number, length: number, _signal?: AbortSignal): Promise<BlockStatus> {
    const { file } = this
    return Promise.resolve({ length, data: true, zero: false, allocated: true, offset, file, recurse: 'all' })
  }

  truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    return this.file.truncate(size, options, signal)
  }

  info(): Promise<DriverInfo> {
    return this.file.info()
  }
}
