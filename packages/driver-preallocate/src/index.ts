/**
 * `preallocate`: a file that grows by small writes is made longer in large steps, ahead of them, so that the storage below
 * extends it seldom and in one piece. What was not used is cut off when the node is closed or becomes read-only; after a
 * crash it stays, as zeroes behind the end.
 */
import {
  alignUp,
  BlockError,
  type Child,
  type ChildHandle,
  defineDriver,
  errorCodeOf,
  isAligned,
  Passthrough,
  Permission,
  type PermissionHooks,
  type Prepared,
  type ReopenChange,
  type TruncateOptions,
} from '@diskgraph/core/driver'

/** Options of a `preallocate` node. */
export interface PreallocateOptions {
  /** The file that grows. */
  file: Child
  /** Its length becomes a multiple of this, in bytes; a multiple of 512. Default 1 MiB. */
  preallocAlign?: number
  /** So much is allocated beyond what a write needs, in bytes. Default 128 MiB. */
  preallocSize?: number
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    preallocate: { open: PreallocateOptions }
  }
}

const { Write, Resize } = Permission
const sector = 512

interface Steps {
  readonly preallocAlign: number
  readonly preallocSize: number
}

class PreallocateImage extends Passthrough {
  #steps: Steps
  /**
   * Where what was written ends, while this node has made the file longer. Then it has a writer, and nobody else may write;
   * with the last writer it gives up what it allocated, for others may move the end of the file from then on.
   */
  #end: number | undefined
  /** The step that is being taken, whether it succeeds; writes that need it wait. */
  #growing: Promise<boolean> | undefined
  /** What the storage answered to a step, where it cannot allocate ahead at all. */
  #refused = false

  constructor(file: ChildHandle, steps: Steps) {
    super(file)
    this.#steps = steps
  }

  override get size(): number {
    return this.#end ?? this.file.size
  }

  readonly permissions: PermissionHooks = {
    prepare: async (permissions) => {
      try {
        if ((permissions & Write) === 0) await this.#cut()
      } finally {
        if ((permissions & Write) === 0) this.#end = undefined
      }
      return { commit: () => undefined, abort: () => undefined }
    },
  }

  override async write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const end = offset + buf.length
    if (end > this.file.size) await this.#reach(end)
    await this.file.write(offset, buf, flags, signal)
    if (this.#end !== undefined && end > this.#end) this.#end = end
  }

  override async writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    const end = offset + length
    if (end > this.file.size) await this.#reach(end)
    await this.file.writeZeroes(offset, length, flags, signal)
    if (this.#end !== undefined && end > this.#end) this.#end = end
  }

  override async truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    await this.#cut()
    await this.file.truncate(size, options, signal)
  }

  async reopen({ options, readOnly }: ReopenChange): Promise<Prepared> {
    const steps = checked(options as unknown as Steps)
    if (readOnly) await this.#cut()
    const commit = (): void => {
      this.#steps = steps
      this.#refused = false
    }
    return { commit, abort: () => undefined }
  }

  close(): Promise<void> {
    return this.#cut()
  }

  /** Makes the file reach `end`, and some. Where that does not succeed the file grows by the write itself. */
  async #reach(end: number): Promise<void> {
    while (end > this.file.size && !this.#refused) {
      this.#growing ??= this.#grow(end)
      if (!(await this.#growing)) return
    }
  }

  async #grow(end: number): Promise<boolean> {
    const { preallocAlign, preallocSize } = this.#steps
    const { size } = this
    try {
      await this.file.truncate(alignUp(end + preallocSize, preallocAlign), { preallocation: 'falloc', exact: false })
      this.#end ??= size
      return true
    } catch (error) {
      this.#refused = errorCodeOf(error) === 'ENOTSUP'
      return false
    } finally {
      this.#growing = undefined
    }
  }

  /** Gives back what was allocated ahead. */
  async #cut(): Promise<void> {
    if (this.#end === undefined) return
    if (this.file.size > this.#end) await this.file.truncate(this.#end, { exact: false })
    this.#end = undefined
  }
}

function checked(steps: Steps): Steps {
  if (isAligned(steps.preallocAlign, sector)) return steps
  throw new BlockError('EINVAL', `prealloc-align parameter of preallocate filter is not aligned to ${sector}`)
}

/** The driver `preallocate`. */
export const preallocate = defineDriver<PreallocateOptions>()({
  name: 'preallocate',
  kind: 'filter',
  description: 'Lets a file grow in large steps, ahead of the writes.',
  options: {
    file: { type: 'child', role: 'filtered', required: true, description: 'The file that grows' },
    preallocAlign: {
      type: 'integer',
      size: true,
      minimum: 512,
      default: 2 ** 20,
      reopen: true,
      description: 'The length of the file becomes a multiple of this, itself a multiple of 512',
    },
    preallocSize: {
      type: 'integer',
      size: true,
      minimum: 0,
      default: 128 * 2 ** 20,
      reopen: true,
      description: 'Allocated beyond what a write needs',
    },
  },
  // What stands behind the end is nobody else's, so nobody else may move it.
  childPermissions: (_, permissions, shared) =>
    (permissions & Write) === 0
      ? { permissions, shared }
      : { permissions: permissions | Resize, shared: shared & ~(Write | Resize) },
  open: async ({ children, options }) => new PreallocateImage(children.require('file'), checked(options as Steps)),
})
