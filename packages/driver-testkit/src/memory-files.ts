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
} from '@diskgraph/core/driver'
import { PagedFile } from './paged-file.ts'

/** Options of a node over a file of a {@link Shelf}. */
export interface ShelfFileOptions {
  name: string
}

declare module '@diskgraph/core/driver' {
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

  constructor(name: string, file: PagedFile, limits: Partial<Limits>) {
    this.identity = `testkit-file:${name}`
    this.file = file
    this.limits = limits
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
    const fitting = this.file.fitting(offset, buf.length)
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

  async truncate(size: number, _options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    this.file.truncate(size)
  }

  async info(): Promise<DriverInfo> {
    return { allocatedSize: this.file.allocatedSize }
  }
}

/**
 * A set of named files in memory, and the protocol driver `testkit-file` that opens them: the ground under a driver
 * that is tested. A file can be taken out, copied and put back between two openings.
 */
export class Shelf {
  readonly files = new Map<string, PagedFile>()
  readonly driver: DriverDescriptor

  constructor(limits: Partial<Limits> = {}) {
    const { files } = this
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
        return new ShelfImage(name, file, limits)
      },
      async create(context: CreateContext<{ name: string; size?: number }>) {
        files.set(context.options.name, new PagedFile(context.options.size))
      },
      async remove(options) {
        files.delete((options as { name: string }).name)
      },
    }
  }

  /** Leaves so many bytes to each file that is there: a write that has to store more fails with ENOSPC. */
  limitSpace(bytes: number): void {
    for (const file of this.files.values()) file.space = file.allocatedSize + bytes
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
