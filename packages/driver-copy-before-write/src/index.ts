/**
 * `copy-before-write`: before something of a disk changes for the first time its old content goes to a target, so that
 * the moment in which the filter was put in can be read, which `snapshot-access` does.
 */
import {
  type BlockStatus,
  type Child,
  type ChildHandle,
  defineDriver,
  done,
  type OpenImage,
  Passthrough,
  Permission,
  type TruncateOptions,
  toBlockError,
} from '@diskgraph/core/driver'
import { Snapshot } from './snapshot.ts'

/** Options of a `copy-before-write` node. */
export interface CopyBeforeWriteOptions {
  /** The disk. */
  file: Child
  /** Where old data goes. */
  target: Child
  /** What fails when old data cannot be kept: the change of the disk, or the point in time. */
  onCbwError?: 'break-guest-write' | 'break-snapshot'
  /** Seconds that keeping may take; 0: any number. */
  cbwTimeout?: number
  /** A dirty bitmap: only what it has marked when the filter is opened is kept. */
  bitmap?: { readonly node: string; readonly name: string }
}

/** Options of a `snapshot-access` node. */
export interface SnapshotAccessOptions {
  /** A `copy-before-write` node. */
  file: Child
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    'copy-before-write': { open: CopyBeforeWriteOptions }
    'snapshot-access': { open: SnapshotAccessOptions }
  }
}

class CopyBeforeWriteImage extends Passthrough {
  readonly #snapshot: Snapshot
  readonly #breaksSnapshot: boolean

  constructor(file: ChildHandle, snapshot: Snapshot, breaksSnapshot: boolean) {
    super(file)
    this.#snapshot = snapshot
    this.#breaksSnapshot = breaksSnapshot
  }

  override async write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    await this.#keep(offset, buf.length)
    await super.write(offset, buf, flags, signal)
  }

  override async writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    await this.#keep(offset, length)
    await super.writeZeroes(offset, length, flags, signal)
  }

  override async discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    await this.#keep(offset, length)
    await super.discard(offset, length, signal)
  }

  override async truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    if (size < this.size) await this.#keep(size, this.size - size)
    await super.truncate(size, options, signal)
  }

  close(): Promise<void> {
    this.#snapshot.close()
    return done
  }

  readSnapshot(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#snapshot.read(offset, buf, signal)
  }

  snapshotStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    return this.#snapshot.status(offset, length, signal)
  }

  async #keep(offset: number, length: number): Promise<void> {
    try {
      await this.#snapshot.keep(offset, length)
    } catch (error) {
      if (!this.#breaksSnapshot) throw error
      this.#snapshot.giveUp(toBlockError(error))
    }
  }
}

const { ConsistentRead, Write, WriteUnchanged, Resize, All, BackingChange } = Permission

/** Smaller units would be written into a part of the target's clusters. */
const smallestUnit = 65536

/** The driver `copy-before-write`. */
export const copyBeforeWrite = defineDriver<CopyBeforeWriteOptions>()({
  name: 'copy-before-write',
  kind: 'filter',
  description: 'What changes for the first time is copied to a target before.',
  options: {
    file: { type: 'child', role: 'filtered', required: true, description: 'The disk' },
    target: { type: 'child', role: 'data', required: true, description: 'Where old data goes' },
    onCbwError: {
      type: 'enum',
      values: ['break-guest-write', 'break-snapshot'],
      default: 'break-guest-write',
      description: 'What fails when old data cannot be kept: the change of the disk, or the point in time',
    },
    cbwTimeout: {
      type: 'integer',
      minimum: 0,
      maximum: 2 ** 32 - 1,
      default: 0,
      description: 'Seconds that keeping may take; 0: any number',
    },
    bitmap: {
      type: 'object',
      properties: {
        node: { type: 'string', required: true, description: 'The node that has it' },
        name: { type: 'string', required: true, description: 'Its name' },
      },
      description: 'A dirty bitmap: only what it has marked when the filter is opened is kept',
    },
  },
  // Without users, as it is put in and taken out, it changes nothing, and they stand below it.
  childPermissions: ({ name, readOnly }, permissions, shared) => {
    if (permissions === 0) return { permissions: 0, shared: All | BackingChange }
    if (name === 'target') {
      // A last block that is not whole is filled up.
      const writes = readOnly ? 0 : Write | Resize
      return { permissions: ConsistentRead | writes, shared: ConsistentRead | WriteUnchanged | BackingChange }
    }
    // Who else writes would pass the filter by.
    return { permissions: permissions | ConsistentRead, shared: shared & ~(Write | Resize) }
  },
  async open({ children, options, clock, ...context }) {
    const file = children.require('file')
    const target = children.require('target')
    const { clusterSize = smallestUnit } = await target.info()
    const { onCbwError, cbwTimeout = 0, bitmap } = options
    const kept = bitmap === undefined ? undefined : context.bitmap(bitmap.node, bitmap.name)
    const unit = Math.max(smallestUnit, clusterSize)
    const snapshot = new Snapshot({ file, target, unit, timeout: cbwTimeout * 1000, clock, kept })
    return new CopyBeforeWriteImage(file, snapshot, onCbwError === 'break-snapshot')
  },
})

/** The driver `snapshot-access`. */
export const snapshotAccess = defineDriver<SnapshotAccessOptions>()({
  name: 'snapshot-access',
  kind: 'format',
  description: 'Shows the point in time that a copy-before-write node keeps.',
  options: {
    file: { type: 'child', role: 'data', required: true, description: 'A copy-before-write node' },
  },
  childPermissions: (_child, _permissions, _shared) => ({ permissions: ConsistentRead, shared: All }),
  open: async ({ children }) => snapshotImage(children.require('file')),
})

function snapshotImage(file: ChildHandle): OpenImage {
  const { size } = file
  return {
    size,
    read: (offset, buf, _flags, signal) => file.readSnapshot(offset, buf, signal),
    blockStatus: (offset, length, signal) => file.snapshotStatus(offset, length, signal),
  }
}
