import { type DriverDescriptor, Permission, type TruncateOptions } from '@diskgraph/core'
import { alignDown, type ChildHandle, Passthrough } from '@diskgraph/core/driver'

/** The nodes that a filter copies between; set while it is open. */
export interface Copying {
  /** What the filtered node held when the filter was opened: nothing was in flight then. */
  readonly pointInTime: Uint8Array
  /** Copies the cluster at `offset` unless it has been copied. */
  copy(offset: number): Promise<void>
}

const cluster = 4096

/**
 * `copy-before-write`: before a cluster is changed for the first time its old content goes to `target`. A change waits
 * for the copies of all its clusters, and a cluster is copied once whoever asks for it first.
 */
class CopyBeforeWrite extends Passthrough implements Copying {
  readonly pointInTime: Uint8Array
  readonly #target: ChildHandle
  readonly #copies = new Map<number, Promise<void>>()

  constructor(file: ChildHandle, target: ChildHandle, pointInTime: Uint8Array) {
    super(file)
    this.#target = target
    this.pointInTime = pointInTime
  }

  override async write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    await this.#copyAll(offset, buf.length)
    await super.write(offset, buf, flags, signal)
  }

  override async writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    await this.#copyAll(offset, length)
    await super.writeZeroes(offset, length, flags, signal)
  }

  override async discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    await this.#copyAll(offset, length)
    await super.discard(offset, length, signal)
  }

  override async truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    if (size < this.size) await this.#copyAll(size, this.size - size)
    await super.truncate(size, options, signal)
  }

  copy(offset: number): Promise<void> {
    let copy = this.#copies.get(offset)
    if (copy === undefined) {
      copy = this.#copyNow(offset)
      this.#copies.set(offset, copy)
    }
    return copy
  }

  async #copyNow(offset: number): Promise<void> {
    const buf = new Uint8Array(Math.min(cluster, this.pointInTime.length - offset))
    await this.file.read(offset, buf)
    await this.#target.write(offset, buf)
  }

  async #copyAll(offset: number, length: number): Promise<void> {
    const copies: Promise<void>[] = []
    for (let at = alignDown(offset, cluster); at < offset + length; at += cluster) copies.push(this.copy(at))
    await Promise.all(copies)
  }
}

/** The driver; `opened` hears of each filter. */
export function copyBeforeWrite(opened: (copying: Copying) => void): DriverDescriptor {
  return {
    name: 'copy-before-write',
    kind: 'filter',
    description: 'Copies old data to a target before it changes.',
    options: {
      file: { type: 'child', role: 'filtered', required: true, description: 'filtered node' },
      target: { type: 'child', role: 'data', required: true, description: 'where old data goes' },
    },
    childPermissions: ({ name }, permissions, shared) =>
      name === 'target'
        ? { permissions: Permission.Write, shared: Permission.ConsistentRead }
        : { permissions, shared },
    async open({ children }) {
      const file = children.require('file')
      const pointInTime = new Uint8Array(file.size)
      await file.read(0, pointInTime)
      const image = new CopyBeforeWrite(file, children.require('target'), pointInTime)
      opened(image)
      return image
    },
  }
}
