/**
 * `copy-on-read`: what a read brings up from a backing file is written into the layer that was read.
 *
 * Whole clusters are copied, so that the layers below need not be asked for them again; the write does not change what
 * anybody sees and says so. A copy holds its clusters exclusively and changes hold their range shared: a copy puts back
 * what it has read, and a change that came between would be lost.
 */
import {
  alignDown,
  alignUp,
  type BlockStatus,
  type Child,
  type ChildHandle,
  defineDriver,
  Flag,
  isZero,
  Passthrough,
  Permission,
  RangeLock,
} from '@diskgraph/core/driver'

/** Options of a `copy-on-read` node. */
export interface CopyOnReadOptions {
  /** The image that what is read is kept in. */
  file: Child
  /** The name of a node in the backing chain of `file`: what comes from below it is not kept. */
  bottom?: string
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    'copy-on-read': { open: CopyOnReadOptions }
  }
}

/** Longest copy, which stands in memory. */
const longest = 2 ** 20
/** Copied together where the image prefers no other length. */
const sector = 512

class CopyOnReadImage extends Passthrough {
  readonly #lock = new RangeLock()
  readonly #bottom: string | undefined

  constructor(file: ChildHandle, bottom: string | undefined) {
    super(file)
    this.#bottom = bottom
  }

  override async read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const end = offset + buf.length
    for (let at = offset; at < end; ) {
      const { kept, length } = await this.#status(at, end - at, signal)
      const next = kept ? Math.min(at + length, this.#copyEnd(at)) : at + length
      const piece = buf.subarray(at - offset, next - offset)
      if (!kept) await this.file.read(at, piece, flags, signal)
      else await this.#copy(at, piece, signal)
      at = next
    }
  }

  /** Where a copy that holds `offset` ends at the latest. */
  #copyEnd(offset: number): number {
    return alignDown(offset, this.#unit) + Math.max(longest, this.#unit)
  }

  get #unit(): number {
    return Math.max(this.file.limits.optimalTransfer, sector)
  }

  /** Fills `buf` and keeps the clusters that it comes from. */
  async #copy(offset: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const start = alignDown(offset, this.#unit)
    const whole = new Uint8Array(Math.min(alignUp(offset + buf.length, this.#unit), this.size) - start)
    const hold = await this.#lock.acquire(start, whole.length, true)
    try {
      await this.file.read(start, whole, 0, signal)
      for (let at = 0; at < whole.length; ) {
        // Others may have written since, or only some of the clusters are missing.
        const { kept, length } = await this.#status(start + at, whole.length - at, signal)
        if (kept) await this.#keep(start + at, whole.subarray(at, at + length), signal)
        at += length
      }
    } finally {
      this.#lock.release(hold)
    }
    buf.set(whole.subarray(offset - start, offset - start + buf.length))
  }

  /** Whether a range is to be kept: the layer itself does not have it, and it is not from below the bottom. */
  async #status(
    offset: number,
    wanted: number,
    signal: AbortSignal | undefined,
  ): Promise<{ kept: boolean; length: number }> {
    const { allocated, length } = await ownStatus(this.file, offset, wanted, signal)
    if (allocated || this.#bottom === undefined) return { kept: !allocated, length }
    const chain = await this.file.chainStatus(offset, length, signal, this.#bottom)
    return { kept: chain.present, length: chain.length }
  }

  #keep(offset: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    return isZero(buf)
      ? this.file.writeZeroes(offset, buf.length, Flag.Unchanged, signal)
      : this.file.write(offset, buf, Flag.Unchanged, signal)
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
    const hold = await this.#lock.acquire(offset, length, false)
    try {
      await change()
    } finally {
      this.#lock.release(hold)
    }
  }
}

/** Whether the layer itself has a range; filters above it are looked through. */
async function ownStatus(
  file: ChildHandle,
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): Promise<BlockStatus> {
  const status = await file.blockStatus(offset, length, signal)
  const { recurse, file: below } = status
  return recurse === 'all' && below?.role === 'filtered' && status.offset === offset
    ? ownStatus(below, offset, status.length, signal)
    : status
}

/** The driver `copy-on-read`. */
export const copyOnRead = defineDriver<CopyOnReadOptions>()({
  name: 'copy-on-read',
  kind: 'filter',
  description: 'What is read from backing files is kept in the image itself.',
  options: {
    file: { type: 'child', role: 'filtered', required: true, description: 'The image that what is read is kept in' },
    bottom: { type: 'string', strong: true, description: 'Node of the chain below which nothing is kept' },
  },
  childPermissions: (_, permissions, shared) => ({ permissions: permissions | Permission.WriteUnchanged, shared }),
  open: async ({ children, options }) => {
    const file = children.require('file')
    const { bottom } = options
    if (bottom !== undefined) await file.chainStatus(0, 1, undefined, bottom)
    return new CopyOnReadImage(file, bottom)
  },
})
