/**
 * `blkverify`: an image and a raw copy of it. Changes go to both, reads come from both and must be equal: what differs is
 * a fault of the image's driver.
 *
 * A write holds its range exclusively and a read holds it shared, or a read could see it on one side only.
 */
import {
  BlockError,
  type BlockStatus,
  type Child,
  type ChildHandle,
  defineDriver,
  type ErrorCode,
  errorCodeOf,
  Flag,
  type OpenImage,
  RangeLock,
  type TruncateOptions,
  throwIfAborted,
} from '@diskgraph/core/driver'

/** Options of a `blkverify` node. */
export interface BlkverifyOptions {
  /** The image under test. */
  test: Child
  /** A raw image with the same content, as long as `test` or longer. */
  raw: Child
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    blkverify: { open: BlkverifyOptions }
  }
}

/** So many bytes of a difference are shown. */
const shown = 16
/** A read needs a second buffer of its length. */
const maxTransfer = 2 ** 22

class BlkverifyImage implements OpenImage {
  readonly limits = { maxTransfer }
  readonly writeFlags = Flag.Unchanged
  readonly zeroFlags = Flag.MayUnmap | Flag.NoFallback | Flag.Unchanged
  readonly #raw: ChildHandle
  readonly #test: ChildHandle
  readonly #lock = new RangeLock()
  readonly #warn: (message: string) => void

  constructor(raw: ChildHandle, test: ChildHandle, warn: (message: string) => void) {
    this.#raw = raw
    this.#test = test
    this.#warn = warn
  }

  get size(): number {
    return this.#test.size
  }

  get zeroInit(): boolean {
    return this.#raw.zeroInit && this.#test.zeroInit
  }

  async read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const hold = await this.#lock.acquire(offset, buf.length, false)
    const copy = new Uint8Array(buf.length)
    const what = `read offset=${offset} bytes=${buf.length}`
    try {
      await this.#both(what, (child) => child.read(offset, child === this.#raw ? copy : buf, flags, signal), signal)
    } finally {
      this.#lock.release(hold)
    }
    const at = firstDifference(buf, copy)
    if (at >= 0) {
      const sides = `raw ${hex(copy, at)}, test ${hex(buf, at)}`
      throw this.#fault(`${what} contents mismatch at offset ${offset + at}`, sides)
    }
  }

  write(offset: number, buf: Uint8Array, flags: number): Promise<void> {
    return this.#change('write', offset, buf.length, (child) => child.write(offset, buf, flags))
  }

  async writeZeroes(offset: number, length: number, flags: number): Promise<void> {
    // One side might make them quickly and the other not.
    if ((flags & Flag.NoFallback) !== 0) throw new BlockError('ENOTSUP', 'blkverify has no quick way to write zeroes')
    await this.#change('write zeroes', offset, length, (child) => child.writeZeroes(offset, length, flags))
  }

  /** Shows what the raw copy knows: it holds the same. */
  blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const file = this.#raw
    return Promise.resolve({ length, data: true, zero: false, allocated: true, offset, file, recurse: 'all' })
  }

  async truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    await this.#both(`truncate size=${size}`, (child) => child.truncate(size, options, signal), signal)
  }

  /** A change has no abort: half of it would be a difference. */
  async #change(
    kind: string,
    offset: number,
    length: number,
    work: (child: ChildHandle) => Promise<void>,
  ): Promise<void> {
    const hold = await this.#lock.acquire(offset, length, true)
    try {
      await this.#both(`${kind} offset=${offset} bytes=${length}`, work)
    } finally {
      this.#lock.release(hold)
    }
  }

  /** Does the same to both. What fails on both sides is no difference between them. */
  async #both(what: string, work: (child: ChildHandle) => Promise<void>, signal?: AbortSignal): Promise<void> {
    const [raw, test] = await Promise.allSettled([work(this.#raw), work(this.#test)])
    throwIfAborted(signal)
    const failure = [test, raw].find((side) => side.status === 'rejected')
    if (failure === undefined) return
    if (raw.status === test.status) throw failure.reason
    const sides = `raw ${outcome(raw)}, test ${outcome(test)}`
    throw this.#fault(`${what} return value mismatch`, sides, errorCodeOf(failure.reason))
  }

  #fault(what: string, sides: string, code: ErrorCode = 'EIO'): BlockError {
    const message = `blkverify: ${what} (${sides})`
    this.#warn(message)
    return new BlockError(code, message)
  }
}

function firstDifference(one: Uint8Array, other: Uint8Array): number {
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return i
  return -1
}

function hex(bytes: Uint8Array, at: number): string {
  return Array.from(bytes.subarray(at, at + shown), (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}

function outcome(result: PromiseSettledResult<void>): string {
  return result.status === 'fulfilled' ? 'succeeded' : `failed with ${errorCodeOf(result.reason)}`
}

const prefix = 'blkverify:'

/** `blkverify:raw:test`; the name of the raw copy has no colon. The format of `test` is probed. */
function parseFilename(filename: string): Record<string, unknown> {
  const rest = filename.slice(prefix.length)
  const colon = rest.indexOf(':')
  if (colon < 0) throw new BlockError('EINVAL', 'blkverify requires raw copy and original image path')
  return { raw: { filename: rest.slice(0, colon) }, test: { file: { filename: rest.slice(colon + 1) } } }
}

function formatFilename(_: unknown, { raw, test }: Readonly<Record<string, string>>): string | undefined {
  if (raw === undefined || test === undefined || raw.includes(':') || test.startsWith('json:')) return undefined
  return `${prefix}${raw}:${test}`
}

/** The driver `blkverify`. */
export const blkverify = defineDriver<BlkverifyOptions>()({
  name: 'blkverify',
  kind: 'filter',
  description: 'Holds an image against a raw copy of it: every read must be equal.',
  options: {
    raw: { type: 'child', role: 'replica', required: true, description: 'A raw image with the same content' },
    test: { type: 'child', role: 'replica', required: true, description: 'The image under test' },
  },
  prefixes: ['blkverify'],
  parseFilename,
  formatFilename,
  open: async ({ children, warn }) => new BlkverifyImage(children.require('raw'), children.require('test'), warn),
})
