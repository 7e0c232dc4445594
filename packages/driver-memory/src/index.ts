import {
  BlockError,
  type BlockStatus,
  type DriverDescriptor,
  type DriverInfo,
  defineDriver,
  done,
  Flag,
  maxOffset,
  type OpenImage,
  type Prepared,
  type TruncateOptions,
  throwIfAborted,
} from '@diskgraph/core/driver'
import { MemoryStorage } from './storage.ts'

export { MemoryStorage, type StoredRun } from './storage.ts'

/** Options of a `memory` node. */
export interface MemoryOptions {
  /** Name of the storage: nodes with the same name share it, and it stays when they are closed. */
  name?: string
  /** Size in bytes of a storage that does not exist yet. Default 0 without a name. */
  size?: number
}

/** Settings of a new named storage. */
export interface MemoryCreateOptions {
  name: string
  /** Default 0. */
  size?: number
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    memory: { open: MemoryOptions; create: MemoryCreateOptions }
  }
}

class MemoryImage implements OpenImage {
  readonly writeFlags = Flag.Fua | Flag.Unchanged
  readonly zeroFlags = Flag.Fua | Flag.MayUnmap | Flag.NoFallback | Flag.Unchanged
  readonly identity: string
  readonly storage: MemoryStorage

  constructor(storage: MemoryStorage) {
    this.storage = storage
    this.identity = `memory:${storage.id}`
  }

  get size(): number {
    return this.storage.size
  }

  read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return aborted(signal)
    this.storage.read(offset, buf)
    return done
  }

  write(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return aborted(signal)
    this.storage.write(offset, buf)
    return done
  }

  writeZeroes(offset: number, length: number, _flags: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return aborted(signal)
    this.storage.zero(offset, length)
    return done
  }

  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return aborted(signal)
    this.storage.zero(offset, Math.min(length, this.size - offset))
    return done
  }

  blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const run = this.storage.run(offset, length)
    return Promise.resolve({ length: run.length, data: run.stored, zero: !run.stored, allocated: true, offset })
  }

  async copyRange(
    offset: number,
    target: OpenImage,
    targetOffset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<void> {
    throwIfAborted(signal)
    if (!(target instanceof MemoryImage)) throw new BlockError('ENOTSUP', 'cannot copy to another driver')
    const buf = new Uint8Array(Math.min(length, 2 ** 20))
    for (let at = 0; at < length; ) {
      const run = this.storage.run(offset + at, Math.min(length - at, buf.length))
      const piece = buf.subarray(0, run.length)
      if (run.stored) {
        this.storage.read(offset + at, piece)
        target.storage.write(targetOffset + at, piece)
      } else target.storage.zero(targetOffset + at, run.length)
      at += run.length
    }
  }

  truncate(size: number, _options: TruncateOptions): Promise<void> {
    this.storage.truncate(size)
    return done
  }

  /** Nothing is held outside, so every mode is ready at once. */
  async reopen(): Promise<Prepared> {
    return { commit: () => undefined, abort: () => undefined }
  }

  info(): Promise<DriverInfo> {
    return Promise.resolve({ allocatedSize: this.storage.allocatedSize })
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  throwIfAborted(signal)
}

/**
 * A `memory` driver with named storages of its own: `storages` may hold some already, and shows those that are
 * created later. The map and the objects in it stay the caller's.
 */
export function memoryDriver(storages: Map<string, MemoryStorage> = new Map()): DriverDescriptor {
  return defineDriver<MemoryOptions, MemoryCreateOptions>()({
    name: 'memory',
    kind: 'protocol',
    description: 'A RAM disk: sparse, growable, shared by name within the process.',
    options: {
      name: { type: 'string', description: 'Name of the storage, shared by all nodes that give it' },
      size: {
        type: 'integer',
        size: true,
        minimum: 0,
        maximum: maxOffset,
        description: 'Size of a storage that does not exist yet; 0 without a name',
      },
    },
    createOptions: {
      name: { type: 'string', required: true, description: 'Name of the storage' },
      size: {
        type: 'integer',
        size: true,
        minimum: 0,
        maximum: maxOffset,
        default: 0,
        description: 'Virtual disk size',
      },
    },
    prefixes: ['memory'],
    parseFilename: (filename) => ({ name: filename.slice('memory:'.length) }),
    formatFilename: ({ name, size }) => (name === undefined || size !== undefined ? undefined : `memory:${name}`),
    async open(context) {
      return new MemoryImage(openStorage(storages, context.options))
    },
    async create(context) {
      const { name, size } = context.options
      storages.set(name, new MemoryStorage(size))
    },
    async remove(options) {
      storages.delete((options as MemoryOptions).name ?? '')
    },
  })
}

function openStorage(storages: Map<string, MemoryStorage>, options: MemoryOptions): MemoryStorage {
  const { name, size } = options
  if (name === undefined) return new MemoryStorage(size)
  const existing = storages.get(name)
  if (existing !== undefined) return existing
  if (size === undefined) {
    throw new BlockError('ENOENT', `cannot open memory '${name}': there is no storage of that name`, {
      hint: "give 'size' to make one",
    })
  }
  const storage = new MemoryStorage(size)
  storages.set(name, storage)
  return storage
}

/** The driver `memory`. Its named storages are shared by all graphs of the process. */
export const memory: DriverDescriptor = memoryDriver()
