import {
  BlockError,
  type BlockStatus,
  type CreateContext,
  type DriverDescriptor,
  type DriverInfo,
  done,
  Flag,
  type Limits,
  type OpenContext,
  type OpenImage,
  type TruncateOptions,
  throwIfAborted,
} from '@diskgraph/core'
import { PagedFile } from './paged-file.ts'

/** Options of a node over a file of a {@link Shelf}. */
export interface ShelfFileOptions {
  name: string
}

declare module '@diskgraph/core' {
  interface BlockDrivers {
    'testkit-file': { open: ShelfFileOptions; create: ShelfFileOptions & { size?: number } }
  }
}

class ShelfImage implements OpenImage {
  readonly writeFlags = Flag.Fua
  readonly zeroFlags = Flag.Fua | Flag.MayUnmap | Flag.NoFallback
  readonly identity: string
  readonly limits: Partial<Limits>
  readonly file: PagedFile
  readonly #space: Space

  constructor(name: string, file: PagedFile, limits: Partial<Limits>, space: Space) {
    this.identity = `testkit-file:${name}`
    this.file = file
    this.limits = limits
    this.#space = space
  }

  get size(): number {
    return this.file.size
  }

  async read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    this.file.read(offset, buf)
  }

  async write(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    const fitting = this.#fitting(offset, buf.length)
    if (fitting > 0) this.file.write(offset, buf.subarray(0, fitting))
    if (fitting < buf.length) throw new BlockError('ENOSPC', 'the shelf is full')
  }

  async writeZeroes(offset: number, length: number, _flags: number, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    this.file.zero(offset, length)
  }

  async discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    this.file.zero(offset, Math.min(length, this.size - offset))
  }

  flush(): Promise<void> {
    return done
  }

  async blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const run = this.file.run(offset, length)
    return { length: run.length, data: run.stored, zero: !run.stored, allocated: true, offset }
  }

  /** How many of `length` bytes at `offset` there is space for: a file system stores what fits of a write. */
  #fitting(offset: number, length: number): number {
    let free = this.#space.free()
    if (free === Number.POSITIVE_INFINITY || this.file.missing(offset, length) <= free) return length
    const { blocks } = this.#space
    let end = offset
    for (let next = offset; next < offset + length; end = next) {
      next = Math.min(offset + length, (Math.floor(next / blocks) + 1) * blocks)
      free -= this.file.missing(end, next - end)
      if (free < 0) break
    }
    return end - offset
  }

  async truncate(size: number, _options: TruncateOptions): Promise<void> {
    this.file.truncate(size)
  }

  async info(): Promise<DriverInfo> {
    return { allocatedSize: this.file.allocatedSize }
  }
}

/** What the files of a shelf share. */
interface Space {
  /** The unit in which space is taken. */
  readonly blocks: number
  /** Bytes that may be taken. */
  free(): number
}

/**
 * A set of named files in memory, and the protocol driver `testkit-file` that opens them: the ground under a driver
 * that is tested. A file can be taken out, copied and put back between two openings.
 */
export class Shelf {
  readonly files = new Map<string, PagedFile>()
  readonly driver: DriverDescriptor
  /** Bytes that all files together may take, in stored pages; a write that needs more fails with ENOSPC. */
  budget: number = Number.POSITIVE_INFINITY

  constructor(limits: Partial<Limits> = {}) {
    const { files } = this
    const space: Space = { blocks: 4096, free: () => this.budget - this.allocatedSize }
    this.driver = {
      name: 'testkit-file',
      kind: 'protocol',
      description: 'A file in memory, for tests.',
      options: { name: { type: 'string', required: true, description: 'Name on the shelf' } },
      createOptions: {
        name: { type: 'string', required: true, description: 'Name on the shelf' },
        size: { type: 'integer', size: true, minimum: 0, default: 0, description: 'Size of the new file' },
      },
      prefixes: ['testkit-file'],
      parseFilename: (filename) => ({ name: filename.slice('testkit-file:'.length) }),
      formatFilename: ({ name }) => `testkit-file:${name}`,
      async open(context: OpenContext<{ name: string }>) {
        const { name } = context.options
        const file = files.get(name)
        if (file === undefined) throw new BlockError('ENOENT', `cannot open '${name}': it is not on the shelf`)
        return new ShelfImage(name, file, limits, space)
      },
      async create(context: CreateContext<{ name: string; size?: number }>) {
        files.set(context.options.name, new PagedFile(context.options.size))
      },
      async remove(options) {
        files.delete((options as { name: string }).name)
      },
    }
  }

  /** Bytes that all files take in stored pages. */
  get allocatedSize(): number {
    let bytes = 0
    for (const file of this.files.values()) bytes += file.allocatedSize
    return bytes
  }

  /** The file called `name`, which must be there. */
  file(name: string): PagedFile {
    const file = this.files.get(name)
    if (file === undefined) throw new Error(`no file '${name}' on the shelf`)
    return file
  }

  /** Puts an empty file, or `file`, on the shelf and returns it. */
  put(name: string, file: PagedFile = new PagedFile()): PagedFile {
    this.files.set(name, file)
    return file
  }
}
