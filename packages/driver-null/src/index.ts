import {
  abortedError,
  BlockError,
  type BlockStatus,
  type Clock,
  type DriverDescriptor,
  type DriverInfo,
  defineDriver,
  delay,
  done,
  Flag,
  type OpenImage,
  type Prepared,
  throwIfAborted,
} from '@diskgraph/core/driver'

/** Options of `null-co` and `null-aio`. */
export interface NullOptions {
  /** Virtual size in bytes. Default 1 GiB. */
  size?: number
  /** Nanoseconds that each request takes at least; rounded up to whole milliseconds. Default 0. */
  latencyNs?: number
  /** Block status says that the disk reads as zeroes. Default false. */
  readZeroes?: boolean
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    'null-co': { open: NullOptions }
    'null-aio': { open: NullOptions }
  }
}

const defaultSize = 2 ** 30

class NullImage implements OpenImage {
  readonly size: number
  readonly writeFlags = Flag.Fua | Flag.Unchanged
  readonly zeroFlags = Flag.Fua | Flag.MayUnmap | Flag.NoFallback | Flag.Unchanged
  readonly #delay: number
  readonly #readZeroes: boolean
  readonly #clock: Clock

  constructor(size: number, delay: number, readZeroes: boolean, clock: Clock) {
    this.#clock = clock
    this.size = size
    this.#delay = delay
    this.#readZeroes = readZeroes
  }

  read(_offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    buf.fill(0)
    return this.#wait(signal)
  }

  write(_offset: number, _buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    return this.#wait(signal)
  }

  writeZeroes(_offset: number, _length: number, _flags: number, signal?: AbortSignal): Promise<void> {
    return this.#wait(signal)
  }

  flush(signal?: AbortSignal): Promise<void> {
    return this.#wait(signal)
  }

  blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const zero = this.#readZeroes
    return Promise.resolve({ length, data: false, zero, allocated: zero, ...(zero ? { offset } : {}) })
  }

  info(): Promise<DriverInfo> {
    return Promise.resolve({ allocatedSize: 0 })
  }

  /** Nothing depends on the mode of a disk that keeps nothing. */
  reopen(): Promise<Prepared> {
    return Promise.resolve({ commit: () => undefined, abort: () => undefined })
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    return this.#delay === 0 ? done : delayed(this.#clock, this.#delay, signal)
  }
}

async function delayed(clock: Clock, milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  throwIfAborted(signal)
  await delay(clock, milliseconds, signal).catch(() => {
    throw abortedError(signal as AbortSignal)
  })
}

function nullDriver(name: 'null-co' | 'null-aio'): DriverDescriptor {
  const uri = `${name}://`
  return defineDriver<NullOptions>()({
    name,
    kind: 'protocol',
    description: 'A disk that takes every write and keeps none; reads give zeroes.',
    options: {
      size: { type: 'integer', size: true, minimum: 0, default: defaultSize, description: 'Size of the disk' },
      latencyNs: { type: 'integer', default: 0, description: 'Nanoseconds that each request takes at least' },
      readZeroes: {
        type: 'boolean',
        default: false,
        description: 'Block status tells that the disk reads as zeroes',
      },
    },
    prefixes: [name],
    parseFilename(filename) {
      if (filename === uri) return {}
      throw new BlockError('EINVAL', `The only allowed filename for this driver is '${uri}'`)
    },
    formatFilename(options) {
      const { size = defaultSize, latencyNs = 0, readZeroes = false } = options as NullOptions
      return size === defaultSize && latencyNs === 0 && !readZeroes ? uri : undefined
    },
    open(context) {
      const { size = defaultSize, latencyNs = 0, readZeroes = false } = context.options
      if (latencyNs < 0) return Promise.reject(new BlockError('EINVAL', 'latency-ns is invalid'))
      return Promise.resolve(new NullImage(size, Math.ceil(latencyNs / 1e6), readZeroes, context.clock))
    },
  })
}

/** The driver `null-co`. */
export const nullCo: DriverDescriptor = nullDriver('null-co')

/** The driver `null-aio`: the same under the name that QEMU has for its second implementation. */
export const nullAio: DriverDescriptor = nullDriver('null-aio')
