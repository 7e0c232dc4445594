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

/** Options of a node over a file of a {@link MemoryFiles}. */
export interface MemoryFileOptions {
  name: string
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    'testkit-file': { open: MemoryFileOptions; create: MemoryFileOptions & { size?: number } }
  }
}

class MemoryFileImage implements OpenImage {
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
    if (fitting < buf.length) throw new BlockError('ENOSPC', 'no space is left')
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
 * A set of named files in memory, and the protocol driver `testkit-file` that opens them: the storage of a driver
 * that is tested. A file can be taken out, copied and put back between two openings.
 */
export class MemoryFiles {
  readonly byName = new Map<string, PagedFile>()
  readonly driver: DriverDescriptor

  constructor(limits: Partial<Limits> = {}) {
    const { byName } = this
    this.driver = {
      name: 'testkit-file',
      kind: 'protocol',
      description: 'A file in memory, for tests.',
      options: { name: { type: 'string', required: true, description: 'Name of the file' } },
      createOptions: {
        name: { type: 'string', required: true, description: 'Name of the file' },
        size: { type: 'integer', size: true, minimum: 0, default: 0, description: 'Size of the new file' },
      },
      prefixes: ['testkit-file'],
      parseFilename: (filename) => ({ name: filename.slice('testkit-file:'.length) }),
      formatFilename: ({ name }) => `testkit-file:${name}`,
      async open(context: OpenContext<{ name: string }>) {
        const { name } = context.options
        const file = byName.get(name)
        if (file === undefined) throw new BlockError('ENOENT', `cannot open '${name}': there is no such file`)
        return new MemoryFileImage(name, file, limits)
      },
      async create(context: CreateContext<{ name: string; size?: number }>) {
        byName.set(context.options.name, new PagedFile(context.options.size))
      },
      async remove(options) {
        byName.delete((options as { name: string }).name)
      },
    }
  }

  /** Leaves so many bytes to each file that is there: a write that has to store more fails with ENOSPC. */
  limitSpace(bytes: number): void {
    for (const file of this.byName.values()) file.space = file.allocatedSize + bytes
  }

  /** The file called `name`, which must be there. */
  file(name: string): PagedFile {
    const file = this.byName.get(name)
    if (file === undefined) throw new Error(`no file '${name}' in memory`)
    return file
  }

  /** Adds an empty file, or `file`, and returns it. */
  put(name: string, file: PagedFile = new PagedFile()): PagedFile {
    this.byName.set(name, file)
    return file
  }
}
