/**
 * The filter that a mirror or a backup puts between a disk and its users.
 *
 * Every change of the disk comes through it, so it knows at any time which parts of the target are not what they are to
 * be: `dirty`. One mechanism for both, and a node rather than a notifier, for two reasons. The target is its child: so
 * a drained section that holds the target holds the users of the disk, too, and a guest's write that waits for a copy
 * cannot wait for a section that waits for the write. And it sees the bytes, which a mirror that writes along needs.
 *
 * Order. A copy holds its units exclusively from before their bits are cleared until it has ended, and sets the bits
 * again if it fails. Bits are cleared before the source is read, so a change that comes in between is not forgotten. A
 * lock is taken only within a request that is counted already, never by who still waits for a section to end.
 */
import {
  alignDown,
  alignUp,
  type ChildHandle,
  DirtyBitmap,
  type DriverDescriptor,
  Flag,
  Passthrough,
  Permission,
  RangeLock,
} from '@diskgraph/core/driver'
import type { Content } from '../engine/source.ts'
import { Transfer } from '../engine/transfer.ts'
import { JobError } from '../engine/work.ts'

/** How the filter copies. */
export interface CopyFilterSettings {
  /** Bytes that are copied together at least; a power of two. */
  readonly granularity: number
  readonly compressed?: boolean | undefined
  readonly unmap?: boolean | undefined
  /** The target is below: what is written there changes nothing that anybody reads. */
  readonly unchanged?: boolean | undefined
}

/** Longest piece that is read and written at once. */
export const pieceLength = 2 ** 20

/** See the top of the file. */
export abstract class CopyFilter extends Passthrough {
  readonly target: ChildHandle
  /** What is to be copied. */
  readonly dirty: DirtyBitmap
  /** Hears how much has been copied, whoever asked for it. */
  onCopied: ((length: number) => void) | undefined
  protected readonly lock = new RangeLock()
  readonly #settings: CopyFilterSettings
  readonly #transfer: Transfer

  constructor(file: ChildHandle, target: ChildHandle, settings: CopyFilterSettings) {
    super(file)
    this.target = target
    this.dirty = new DirtyBitmap(file.size, settings.granularity)
    this.#settings = settings
    const { compressed = false, unmap = true, unchanged = false } = settings
    this.#transfer = new Transfer({
      source: { read: (offset, buf) => readSource(file, offset, buf) },
      target,
      zeroUnit: 0,
      targetIsZero: false,
      writeFlags: (compressed ? Flag.Compressed : 0) | (unchanged ? Flag.Unchanged : 0),
      unmap,
    })
  }

  get granularity(): number {
    return this.#settings.granularity
  }

  /** Copies what is dirty between `offset` and `offset + length`, widened to whole units. */
  async copy(offset: number, length: number, buffer?: () => Uint8Array): Promise<void> {
    const { granularity, dirty } = this
    const start = alignDown(offset, granularity)
    const end = Math.min(alignUp(offset + length, granularity), dirty.size)
    const hold = await this.lock.acquire(start, end - start, true)
    try {
      for (let run = dirty.nextDirty(start, end); run !== undefined; run = dirty.nextDirty(start, end)) {
        await this.#copyRun(run.offset, Math.min(run.length, Math.max(pieceLength, granularity)), buffer)
      }
    } finally {
      this.lock.release(hold)
    }
  }

  async #copyRun(offset: number, length: number, buffer: (() => Uint8Array) | undefined): Promise<void> {
    this.dirty.clear(offset, length)
    try {
      for (let at = offset; at < offset + length; ) {
        const { content, length: known } = await this.#contentAt(at, offset + length - at)
        const range = { offset: at, length: known, content }
        if (content === 'zero') await this.#transfer.zero(range)
        else await this.#transfer.copy(range, (buffer?.() ?? new Uint8Array(known)).subarray(0, known))
        at += known
      }
      this.onCopied?.(length)
    } catch (error) {
      this.dirty.set(offset, length)
      throw error
    }
  }

  async #contentAt(offset: number, length: number): Promise<{ readonly content: Content; readonly length: number }> {
    try {
      const status = await this.file.chainStatus(offset, length)
      // Whole units stay together where they are compressed.
      if (this.#settings.compressed && status.length < length) return { content: 'data', length }
      return { content: status.zero ? 'zero' : 'data', length: status.length }
    } catch (error) {
      throw new JobError({ operation: 'status', disk: 'source', offset }, error)
    }
  }
}

async function readSource(file: ChildHandle, offset: number, buf: Uint8Array): Promise<void> {
  try {
    await file.read(offset, buf)
  } catch (error) {
    throw new JobError({ operation: 'read', disk: 'source', offset }, error)
  }
}

/** Makes a driver whose one image is `make`'s. */
export function filterDriver(
  name: string,
  make: (file: ChildHandle, target: ChildHandle) => CopyFilter,
  unchanged: boolean,
): DriverDescriptor {
  const { ConsistentRead, Write, WriteUnchanged, Resize, All } = Permission
  const forTarget = unchanged
    ? { permissions: WriteUnchanged, shared: All & ~Resize }
    : { permissions: Write, shared: ConsistentRead | WriteUnchanged }
  return {
    name,
    kind: 'filter',
    description: 'Stands between a disk and its users while a job copies it.',
    options: {
      file: { type: 'child', role: 'filtered', required: true, description: 'The disk' },
      target: { type: 'child', role: 'data', required: true, description: 'Where the job copies to' },
    },
    // Without users, as it comes and as it goes, it does nothing, and they stand below it.
    childPermissions: (child, permissions, shared) => {
      if (permissions === 0) return { permissions: 0, shared: All }
      if (child.name === 'target') return forTarget
      // Who else writes or resizes would pass the filter by.
      return { permissions: permissions | ConsistentRead, shared: shared & ~(Write | Resize) }
    },
    open: async ({ children }) => make(children.require('file'), children.require('target')),
  }
}
