/** Extents: parts of a disk, each with its place on it. Requests are relative to the extent, and end in it. */
import { type BlockStatus, type ChildHandle, done, type OpenImage, type Prepared } from '@diskgraph/core/driver'

/** What `info` tells of an extent. */
interface ExtentInfo {
  readonly clusterSize?: number
  readonly compressed?: boolean
}

/** See the top of this file. */
export interface Extent extends OpenImage {
  readonly about: ExtentInfo
  readonly file: ChildHandle
  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void>
  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void>
  discard(offset: number, length: number, signal?: AbortSignal): Promise<void>
  blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus>
  flush(): Promise<void>
  close(): Promise<void>
  reopen(change: { readonly readOnly: boolean }): Promise<Prepared>
}

/** The bytes of a file, from some offset on. */
export class FlatExtent implements Extent {
  readonly about = {}
  readonly file: ChildHandle
  readonly size: number
  readonly #start: number

  constructor(file: ChildHandle, start: number, size: number) {
    this.file = file
    this.size = size
    this.#start = start
  }

  read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.file.read(this.#start + offset, buf, flags, signal)
  }

  write(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    return this.file.write(this.#start + offset, buf, 0, signal)
  }

  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    return this.file.writeZeroes(this.#start + offset, length, flags, signal)
  }

  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.file.discard(this.#start + offset, length, signal)
  }

  blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const { file } = this
    return Promise.resolve({
      length,
      data: true,
      zero: false,
      allocated: true,
      offset: this.#start + offset,
      file,
      recurse: 'all',
    })
  }

  flush(): Promise<void> {
    return done
  }

  close(): Promise<void> {
    return done
  }

  reopen(): Promise<Prepared> {
    return Promise.resolve({ commit: () => {}, abort: () => {} })
  }
}
