/**
 * The filter that a mirror or a backup puts between a disk and its users.
 *
 * Every change of the disk comes through it, so it knows at any time which units of the target are not what they are to
 * be. One mechanism for both, and a node rather than a notifier, for two reasons. The target is its child: so a drained
 * section that holds the target holds the users of the disk, too, and a guest's write that waits for a copy cannot wait
 * for a section that waits for the write. And it sees the bytes, which a mirror that writes along needs. For the same
 * reason a lock of units is taken only within a request that is counted already.
 */
import {
  type ChildHandle,
  type DriverDescriptor,
  done,
  Flag,
  type FollowedReads,
  Passthrough,
  Permission,
} from '@diskgraph/core/driver'
import type { Range } from '../engine/source.ts'
import { reading, Transfer } from '../engine/transfer.ts'
import { Units } from './units.ts'

/** How the filter copies. */
export interface CopyFilterSettings {
  /** Bytes that are copied together at least; a power of two. */
  readonly granularity: number
  readonly compressed?: boolean | undefined
  /** Bytes that are copied at once, at most. Default, and 0: as many as is good. */
  readonly longest?: number | undefined
  readonly unmap?: boolean | undefined
  /** The target is a layer of the disk: what is written there changes nothing that anybody reads. */
  readonly unchanged?: boolean | undefined
  /** The target has the disk below it: who reads there reads the disk where nothing was copied yet. */
  readonly fleecing?: boolean | undefined
  /** Ends copies that are in flight: for those that no guest waits for. */
  readonly signal?: AbortSignal | undefined
}

/** See the top of the file. */
export abstract class CopyFilter extends Passthrough {
  readonly target: ChildHandle
  readonly units: Units
  readonly #reads: FollowedReads | undefined

  constructor(file: ChildHandle, target: ChildHandle, settings: CopyFilterSettings) {
    super(file)
    this.target = target
    const { granularity, compressed = false, unmap = true, unchanged = false, fleecing = false } = settings
    const { longest, signal } = settings
    const transfer = new Transfer({
      source: { read: (offset, buf) => reading('read', offset, () => file.read(offset, buf, 0, signal)) },
      target,
      zeroUnit: 0,
      targetIsZero: false,
      writeFlags: (compressed ? Flag.Compressed : 0) | (unchanged ? Flag.Unchanged : 0),
      unmap,
      signal,
    })
    const contentAt = async (offset: number, length: number): Promise<Omit<Range, 'offset'>> => {
      const status = await reading('status', offset, () => file.chainStatus(offset, length))
      // Whole units stay together where they are compressed.
      if (compressed && status.length < length) return { content: 'data', length }
      return { content: status.zero ? 'zero' : 'data', length: status.length }
    }
    const reads = fleecing ? target.followReads() : undefined
    this.#reads = reads
    this.units = new Units({ size: file.size, granularity, transfer, contentAt, copied: reads?.ended, longest })
  }

  close(): Promise<void> {
    this.#reads?.forget()
    return done
  }
}

/** What a {@link copyFilterDriver} is called, and what is done with its children. */
interface CopyFilterDriver {
  readonly name: string
  /** The child that is copied. */
  readonly disk: 'file' | 'backing'
  /** The target is a layer of the disk, one that is to be what the disk is, or one that others may write to, too. */
  readonly target: 'layer' | 'own' | 'shared'
}

/** A driver for the one image that `make` makes. */
export function copyFilterDriver(
  { name, disk, target }: CopyFilterDriver,
  make: (file: ChildHandle, target: ChildHandle) => CopyFilter,
): DriverDescriptor {
  const { ConsistentRead, Write, WriteUnchanged, Resize, All, BackingChange } = Permission
  const forTarget = {
    layer: { permissions: WriteUnchanged, shared: All & ~Resize },
    // A last block that is not whole is filled up.
    own: { permissions: Write | Resize, shared: ConsistentRead | WriteUnchanged | BackingChange },
    shared: { permissions: Write | Resize, shared: (All & ~Resize) | BackingChange },
  }[target]
  return {
    name,
    kind: 'filter',
    description: 'Stands between a disk and its users while a job copies it.',
    options: {
      [disk]: { type: 'child', role: 'filtered', required: true, description: 'The disk' },
      target: { type: 'child', role: 'data', required: true, description: 'Where the job copies to' },
    },
    formatFilename: (_options, children) => children[disk],
    // Without users, as it comes and as it goes, it does nothing, and they stand below it.
    childPermissions: (child, permissions, shared) => {
      if (permissions === 0) return { permissions: 0, shared: All | BackingChange }
      if (child.name === 'target') return forTarget
      // Who else writes or resizes would pass the filter by.
      return { permissions: permissions | ConsistentRead, shared: shared & ~(Write | Resize) }
    },
    open: async ({ children }) => make(children.require(disk), children.require('target')),
  }
}
