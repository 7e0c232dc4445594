import { type BlockStatus, type DriverInfo, type OpenImage, throwIfAborted } from '@diskgraph/core/driver'
import { GeneratedFat } from './disk/fat.ts'
import { sectorSize } from './disk/geometry.ts'
import type { HostFiles } from './host/files.ts'
import type { Folder } from './host/folder.ts'
import { type Span, SpanMap } from './span-map.ts'
import type { Volume } from './volume.ts'

/** A directory as a disk, as it was when it was opened. */
export class VvfatImage implements OpenImage {
  readonly size: number
  readonly limits = { alignment: sectorSize }
  protected readonly root: Folder
  protected readonly files: HostFiles
  readonly #metadata: SpanMap
  /** The content of files. What stands here hides what `#metadata` has. */
  protected content: SpanMap

  constructor(root: Folder, files: HostFiles, volume: Volume) {
    this.root = root
    this.files = files
    this.#metadata = new SpanMap(volume.metadata)
    this.content = new SpanMap(volume.content)
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
    else await this.files.read(source.file, source.start + skip, part)
  }

  blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const at = this.#at(offset, length)
    const zero = at.span === undefined
    // A sector that belongs to a file in part is data.
    const sectors = zero ? Math.floor(at.length / sectorSize) : Math.ceil(at.length / sectorSize)
    return Promise.resolve({ length: sectors * sectorSize, data: !zero, zero, allocated: true })
  }

  info(): Promise<DriverInfo> {
    return Promise.resolve({})
  }

  async close(): Promise<void> {
    await this.files.closeAll()
    await this.root.close()
  }

  #at(offset: number, length: number): { readonly length: number; readonly span: Span | undefined } {
    const content = this.content.at(offset, length)
    return content.span === undefined ? this.#metadata.at(offset, content.length) : content
  }
}
