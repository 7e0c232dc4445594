/** `delay`: every request of a kind is held for a time, as slow storage holds it. */
import {
  abortedError,
  type Child,
  type ChildHandle,
  type Clock,
  defineDriver,
  onAbort,
  Passthrough,
  type Prepared,
  type ReopenChange,
} from '@diskgraph/core/driver'

/** Options of a `delay` node; times are in milliseconds. */
export interface DelayOptions {
  /** The image that is read and written. */
  file: Child
  /** How long a read is held. */
  readDelay?: number
  /** How long a write is held. */
  writeDelay?: number
  /** How long a request for zeroes is held. */
  zeroesDelay?: number
  /** How long a discard is held. */
  discardDelay?: number
  /** How long a flush is held. */
  flushDelay?: number
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    delay: { open: DelayOptions }
  }
}

type Times = Omit<DelayOptions, 'file'>

class DelayImage extends Passthrough {
  readonly #clock: Clock
  #times: Times
  /** Ends the wait of each request that is held. */
  readonly #held = new Set<() => void>()
  /** Drained sections that hold the image now. */
  #drained = 0

  constructor(file: ChildHandle, clock: Clock, times: Times) {
    super(file)
    this.#clock = clock
    this.#times = times
  }

  override read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const wait = this.#hold(this.#times.readDelay, signal)
    if (wait === undefined) return super.read(offset, buf, flags, signal)
    return wait.then(() => super.read(offset, buf, flags, signal))
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const wait = this.#hold(this.#times.writeDelay, signal)
    if (wait === undefined) return super.write(offset, buf, flags, signal)
    return wait.then(() => super.write(offset, buf, flags, signal))
  }

  override writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    const wait = this.#hold(this.#times.zeroesDelay, signal)
    if (wait === undefined) return super.writeZeroes(offset, length, flags, signal)
    return wait.then(() => super.writeZeroes(offset, length, flags, signal))
  }

  override discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    const wait = this.#hold(this.#times.discardDelay, signal)
    if (wait === undefined) return super.discard(offset, length, signal)
    return wait.then(() => super.discard(offset, length, signal))
  }

  /** The core flushes the child afterwards. */
  flush(signal?: AbortSignal): Promise<void> {
    return this.#hold(this.#times.flushDelay, signal) ?? Promise.resolve()
  }

  /** A promise only if there is something to wait for. */
  #hold(time: number | undefined, signal: AbortSignal | undefined): Promise<void> | undefined {
    if (!time || this.#drained > 0) return undefined
    return new Promise((resolve, reject) => {
      const end = (): void => {
        cancel()
        this.#held.delete(end)
        leave()
        if (signal?.aborted) reject(abortedError(signal))
        else resolve()
      }
      const cancel = this.#clock.timeout(time, end)
      const leave = onAbort(signal, end)
      this.#held.add(end)
      if (signal?.aborted) end()
    })
  }

  drainBegin(): void {
    this.#drained++
    for (const end of [...this.#held]) end()
  }

  drainEnd(): void {
    this.#drained--
  }

  async reopen({ options }: ReopenChange): Promise<Prepared> {
    const commit = (): void => {
      this.#times = options as Times
    }
    return { commit, abort: () => undefined }
  }
}

/** A day. Timers of the system count no further than 24 of them. */
const longest = 24 * 60 * 60 * 1000

function time(what: string) {
  return {
    type: 'number',
    minimum: 0,
    maximum: longest,
    default: 0,
    reopen: true,
    description: `How long a ${what} is held, in milliseconds`,
  } as const
}

/** The driver `delay`. */
export const delay = defineDriver<DelayOptions>()({
  name: 'delay',
  kind: 'filter',
  description: 'Requests are held for a time, by their kind.',
  options: {
    file: { type: 'child', role: 'filtered', required: true, description: 'The image that is read and written' },
    readDelay: time('read'),
    writeDelay: time('write'),
    zeroesDelay: time('request for zeroes'),
    discardDelay: time('discard'),
    flushDelay: time('flush'),
  },
  open: async ({ children, clock, options }) => new DelayImage(children.require('file'), clock, options),
})
