/** `cache`: what was read is kept in memory, in pages, so that slow storage is asked for it once. */
import {
  BlockError,
  type Child,
  type ChildHandle,
  defineDriver,
  div,
  divUp,
  isPowerOfTwo,
  Passthrough,
  Permission,
  type Prepared,
  type ReopenChange,
  type TruncateOptions,
  unlessAborted,
} from '@diskgraph/core/driver'
import { type Fill, Pages } from './pages.ts'

/** Options of a `cache` node. */
export interface CacheOptions {
  /** The image that is read and written. */
  file: Child
  /** Bytes that are kept at most. Default 16 MiB. */
  cacheSize?: number
  /** Bytes that are read and kept together, a power of two. Default 64 KiB. */
  pageSize?: number
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    cache: { open: CacheOptions }
  }
}

class CacheImage extends Passthrough {
  readonly #pages: Pages
  #hits = 0
  #misses = 0

  constructor(file: ChildHandle, pages: Pages) {
    super(file)
    this.#pages = pages
  }

  override async read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    for (let at = 0; at < buf.length; ) {
      const rest = buf.subarray(at)
      at += this.#copyKept(offset + at, rest) || (await this.#fetch(offset + at, rest, flags, signal))
    }
  }

  /** Copies what is kept from `offset` on; how many bytes that were. */
  #copyKept(offset: number, buf: Uint8Array): number {
    const { pageSize } = this.#pages
    let at = 0
    while (at < buf.length) {
      const index = div(offset + at, pageSize)
      const page = this.#pages.get(index)
      const copied = page === undefined ? 0 : copyFrom(page, offset + at - index * pageSize, buf.subarray(at))
      if (copied === 0) break
      at += copied
      this.#hits++
    }
    return at
  }

  /** Fills the start of `buf` with what is not kept: from a read that is under way, or by a new one. */
  async #fetch(offset: number, buf: Uint8Array, flags: number, signal: AbortSignal | undefined): Promise<number> {
    const pages = this.#pages
    const { pageSize } = pages
    const first = div(offset, pageSize)
    const wanted = divUp(offset + buf.length, pageSize) - first
    const underWay = pages.filling(first)
    const count = underWay === undefined ? pages.missing(first, wanted) : 1
    const length = Math.min((first + Math.max(count, 1)) * pageSize - offset, buf.length)
    if (underWay !== undefined) this.#hits++
    else this.#misses += Math.max(count, 1)
    const fill = underWay ?? (count > 0 ? this.#fill(first, count, flags, signal) : undefined)
    // Who began a read waits for its end whatever happens: a drained section must find it ended.
    const bytes = await (underWay === undefined ? fill?.bytes : unlessAborted(underWay.bytes, signal))
    const piece = buf.subarray(0, length)
    // What others asked for may have ended with their signal, and one bad sector must not cost those around it.
    const start = offset - (fill?.first ?? 0) * pageSize
    if (bytes === undefined || bytes.length < start + length) await this.file.read(offset, piece, flags, signal)
    else copyFrom(bytes, start, piece)
    return length
  }

  #fill(first: number, count: number, flags: number, signal: AbortSignal | undefined): Fill {
    const { pageSize } = this.#pages
    const start = first * pageSize
    const bytes = new Uint8Array(Math.min(count * pageSize, this.size - start))
    return this.#pages.fill(
      first,
      count,
      this.file.read(start, bytes, flags, signal).then(() => bytes),
    )
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#change(offset, buf.length, () => super.write(offset, buf, flags, signal))
  }

  override writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#change(offset, length, () => super.writeZeroes(offset, length, flags, signal))
  }

  override discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.#change(offset, length, () => super.discard(offset, length, signal))
  }

  async #change(offset: number, length: number, change: () => Promise<void>): Promise<void> {
    // A disk that grows has more of what was its last page.
    const start = Math.min(offset, this.size)
    const end = this.#pages.beginChange(start, offset + length - start)
    try {
      await change()
    } finally {
      end()
    }
  }

  /** Beside reads, too: formats lengthen their file in a flush. What was the last page has another length then. */
  override truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    const start = Math.min(size, this.size)
    return this.#change(start, Math.max(size, this.size) + 1 - start, () => super.truncate(size, options, signal))
  }

  async invalidateCache(): Promise<void> {
    this.#pages.clear()
  }

  contentChanged(): void {
    this.#pages.clear()
  }

  statistics(): Readonly<Record<string, number>> {
    return { hits: this.#hits, misses: this.#misses, pages: this.#pages.count }
  }

  async reopen({ options }: ReopenChange): Promise<Prepared> {
    const { cacheSize } = options as unknown as Required<CacheOptions>
    checkSizes(cacheSize, this.#pages.pageSize)
    return { commit: () => this.#pages.resize(cacheSize), abort: () => undefined }
  }
}

/** Copies as much of `bytes` from `start` on as `buf` takes; how many bytes that were. */
function copyFrom(bytes: Uint8Array, start: number, buf: Uint8Array): number {
  const part = bytes.subarray(start, start + buf.length)
  buf.set(part)
  return part.length
}

function checkSizes(cacheSize: number, pageSize: number): void {
  if (!isPowerOfTwo(pageSize)) {
    throw new BlockError('EINVAL', `pageSize of ${pageSize} bytes is no power of two`)
  }
  if (cacheSize < pageSize) {
    throw new BlockError('EINVAL', `cacheSize of ${cacheSize} bytes has no room for a page of ${pageSize} bytes`)
  }
}

/** The driver `cache`. */
export const cache = defineDriver<CacheOptions>()({
  name: 'cache',
  kind: 'filter',
  description: 'What was read is kept in memory.',
  options: {
    file: { type: 'child', role: 'filtered', required: true, description: 'The image that is read and written' },
    cacheSize: {
      type: 'integer',
      size: true,
      minimum: 4096,
      maximum: 2 ** 40,
      default: 2 ** 24,
      reopen: true,
      description: 'Bytes that are kept at most',
    },
    pageSize: {
      type: 'integer',
      size: true,
      minimum: 4096,
      maximum: 2 ** 24,
      default: 2 ** 16,
      description: 'Bytes that are read and kept together, a power of two',
    },
  },
  // What others change below would not be seen here.
  childPermissions: (_, permissions, shared) => ({
    permissions,
    shared: shared & ~(Permission.Write | Permission.Resize),
  }),
  open: async ({ children, options }) => {
    const { cacheSize, pageSize } = options as Required<Omit<CacheOptions, 'file'>>
    checkSizes(cacheSize, pageSize)
    return new CacheImage(children.require('file'), new Pages(pageSize, cacheSize))
  },
})
