/**
 * The storage of a simulation: a growable run of bytes whose calls take virtual time, fail now and then, and, when
 * they fail, may have stored a part of what they were given. A write takes effect sector by sector between its call
 * and its answer, so that whoever reads meanwhile may see a part of it.
 */
import {
  BlockError,
  type Clock,
  type DriverDescriptor,
  delay,
  Flag,
  type Limits,
  type OpenContext,
  type OpenImage,
  throwIfAborted,
} from '@diskgraph/core/driver'
import type { Random } from '../random.ts'

/** How the storage behaves. */
interface LeafSettings {
  readonly random: Random
  /** How many of the calls fail, 0 to 1. */
  readonly failures: number
  /** Of all requests, in bytes. */
  readonly alignment: number
}

/** Bytes of one storage. */
interface Content {
  bytes: Uint8Array
}

/** All storages of one simulation, by name; `driver` opens and makes them. */
export class SimulatedStorage {
  readonly driver: DriverDescriptor
  readonly #contents = new Map<string, Content>()
  /** Calls under way; more than none when a graph has closed is an error. */
  calls = 0
  /** Images that are open. */
  open = 0
  failing = true
  /** Calls that found their image closed. */
  late = 0
  readonly #settings: LeafSettings

  constructor(settings: LeafSettings) {
    this.#settings = settings
    const name = { type: 'string', required: true, description: 'name of the storage' } as const
    this.driver = {
      name: 'simulated',
      kind: 'protocol',
      description: 'Storage in virtual time, for simulations.',
      options: { name },
      createOptions: { name, size: { type: 'integer', default: 0, description: 'bytes' } },
      prefixes: ['simulated'],
      parseFilename: (filename) => ({ name: filename.slice('simulated:'.length) }),
      formatFilename: (options) => `simulated:${options.name}`,
      create: async ({ options }) => {
        this.#contents.set(options.name as string, { bytes: new Uint8Array(options.size as number) })
      },
      remove: async (options) => {
        this.#contents.delete(options.name as string)
      },
      open: async (context: OpenContext) => {
        const content = this.#contents.get(context.options.name as string)
        if (content === undefined) throw new BlockError('ENOENT', `there is no storage '${context.options.name}'`)
        this.open++
        return new SimulatedImage(this, content, context.clock, this.#settings.alignment)
      },
    }
  }

  /** Virtual time passes; answers whether the call is to fail. */
  async pass(clock: Clock, signal: AbortSignal | undefined): Promise<boolean> {
    const { random, failures } = this.#settings
    const fails = this.failing && random.chance(failures)
    this.calls++
    try {
      throwIfAborted(signal)
      await delay(clock, random.chance(0.02) ? random.below(400) : random.fraction() * 5)
    } finally {
      this.calls--
    }
    return fails
  }

  /** How much of `sectors` a failing write stores. */
  torn(sectors: number): number {
    return this.#settings.random.below(sectors + 1)
  }
}

const sector = 512

/** One open storage. `calls` are under way. */
export class SimulatedImage implements OpenImage {
  readonly writeFlags = Flag.Unchanged
  readonly #storage: SimulatedStorage
  readonly #content: Content
  readonly #clock: Clock
  #open = true
  readonly limits: Partial<Limits>
  calls = 0

  constructor(storage: SimulatedStorage, content: Content, clock: Clock, alignment: number) {
    this.limits = { alignment }
    this.#storage = storage
    this.#content = content
    this.#clock = clock
  }

  get size(): number {
    return this.#content.bytes.length
  }

  async read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    await this.#pass('read', signal)
    buf.set(this.#content.bytes.subarray(offset, offset + buf.length))
  }

  async write(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    const data = buf.slice()
    this.calls++
    try {
      await this.#pass('write', signal)
      const half = Math.ceil(data.length / sector / 2) * sector
      this.#store(offset, data.subarray(0, half))
      if (half === data.length) return
      await this.#clock.turn()
      this.#store(offset + half, data.subarray(half))
    } catch (error) {
      this.#store(offset, data.subarray(0, this.#storage.torn(Math.ceil(data.length / sector)) * sector))
      throw error
    } finally {
      this.calls--
    }
  }

  async flush(signal?: AbortSignal): Promise<void> {
    await this.#pass('flush', signal)
  }

  async truncate(size: number, _options: unknown, signal?: AbortSignal): Promise<void> {
    await this.#pass('truncate', signal)
    this.#resize(size)
  }

  async close(): Promise<void> {
    this.#open = false
    this.#storage.open--
  }

  async #pass(what: string, signal: AbortSignal | undefined): Promise<void> {
    this.#mustBeOpen()
    this.calls++
    try {
      if (await this.#storage.pass(this.#clock, signal)) throw new BlockError('EIO', `a simulated ${what} fails`)
      this.#mustBeOpen()
    } finally {
      this.calls--
    }
  }

  #mustBeOpen(): void {
    if (this.#open) return
    this.#storage.late++
    throw new Error('a call reaches a storage that is closed')
  }

  #store(offset: number, data: Uint8Array): void {
    if (offset + data.length > this.#content.bytes.length) this.#resize(offset + data.length)
    this.#content.bytes.set(data, offset)
  }

  #resize(size: number): void {
    const bytes = new Uint8Array(size)
    bytes.set(this.#content.bytes.subarray(0, size))
    this.#content.bytes = bytes
  }
}
