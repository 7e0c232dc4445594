import { type BlockStatus, type DriverInfo, type OpenImage, throwIfAborted } from '@diskgraph/core/driver'
import { GeneratedFat } from './disk/fat.ts'
import { sectorSize } from './disk/geometry.ts'
import type { HostFiles } from './host/files.ts'
import type { Folder } from './host/folder.ts'
import type { Span, Volume } from './volume.ts'

/** A directory as it was when it was opened. */
export class VvfatImage implements OpenImage {
  readonly size: number
  readonly limits = { alignment: sectorSize }
  readonly #root: Folder
  readonly #files: HostFiles
  readonly #spans: readonly Span[]

  constructor(root: Folder, files: HostFiles, volume: Volume) {
    this.#root = root
    this.#files = files
    this.#spans = volume.spans
    this.size = volume.geometry.diskSectors * sectorSize
  }

  async read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    for (let done = 0; done < buf.length; ) {
      throwIfAborted(signal)
      const { length, span } = this.#at(offset + done, buf.length - done)
      const part = buf.subarray(done, done + length)
      if (span === undefined) part.fill(0)
      else await this.#readSpan(span, offset + done - span.offset, part)
      done += length
    }
  }

  async #readSpan({ source }: Span, skip: number, part: Uint8Array): Promise<void> {
    if (source instanceof Uint8Array) part.set(source.subarray(skip, skip + part.length))
    else if (source instanceof GeneratedFat) source.read(skip, part)
    else await this.#files.read(source.file, source.start + skip, part)
  }

  blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const at = this.#at(offset, length)
    const zero = at.span === undefined
    // A sector that belongs to a file in part is data.
    const end = offset + at.length
    const whole = zero ? Math.floor(end / sectorSize) * sectorSize : Math.ceil(end / sectorSize) * sectorSize
    return Promise.resolve({ length: Math.max(whole - offset, sectorSize), data: !zero, zero, allocated: true })
  }

  info(): Promise<DriverInfo> {
    return Promise.resolve({})
  }

  async close(): Promise<void> {
    await this.#files.closeAll()
    await this.#root.close()
  }

  /** The span that `offset` stands in, or none, and for how many bytes that holds. */
  #at(offset: number, length: number): { readonly length: number; readonly span: Span | undefined } {
    let [low, high] = [0, this.#spans.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const span = this.#spans[middle] as Span
      if (span.offset + span.length > offset) high = middle
      else low = middle + 1
    }
    const span = this.#spans[low]
    if (span === undefined) return { length, span }
    if (span.offset > offset) return { length: Math.min(length, span.offset - offset), span: undefined }
    return { length: Math.min(length, span.offset + span.length - offset), span }
  }
}
