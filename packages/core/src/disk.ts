/** The handle of a user on a node. */

import { Permission, type TruncateOptions } from './contract.ts'
import { drained } from './drain.ts'
import { BlockError } from './errors.ts'
import type { Graph } from './graph.ts'
import type {
  AmendRequest,
  CheckOptions,
  DriverInfo,
  ImageCheck,
  NewSnapshot,
  SnapshotInfo,
  Snapshots,
} from './image-operations.ts'
import type { Node } from './node.ts'
import { PermissionUpdate } from './permissions.ts'
import { Root, type RootSettings } from './root.ts'
import { chainExtents, type Extent } from './status.ts'

/** Which part of a disk {@link Disk.extents} looks at. */
export interface ExtentOptions {
  /** Default 0. */
  readonly offset?: number
  /** Default: to the end. */
  readonly length?: number
  /** Look at the layers above this node only. */
  readonly base?: Node
  readonly signal?: AbortSignal
}

/**
 * An open disk. Close it (or `await using` it); closing closes the nodes below that nobody else uses.
 * Operations on the whole image (truncate, check with repair, amend, snapshots) wait for requests in flight.
 */
export class Disk extends Root {
  readonly graph: Graph

  constructor(graph: Graph, node: Node, settings: RootSettings) {
    super(node, settings)
    this.graph = graph
  }

  get nodeName(): string {
    return this.node.name
  }

  get filename(): string {
    return this.node.filename
  }

  get readOnly(): boolean {
    return this.node.readOnly
  }

  /** The extents of the disk, from the lowest offset on: what is data, zero, or absent, and in which layer. */
  extents(options: ExtentOptions = {}): AsyncGenerator<Extent> {
    const offset = options.offset ?? 0
    const end = options.length === undefined ? this.size : Math.min(this.size, offset + options.length)
    return chainExtents(this.node, options.base, offset, end, options.signal)
  }

  /** Sets the size in bytes. ENOTSUP where the format or the storage cannot. */
  truncate(size: number, options?: TruncateOptions, signal?: AbortSignal): Promise<void> {
    return this.#resizing(() => this.node.truncate(size, options, signal))
  }

  info(): Promise<DriverInfo> {
    return this.node.info()
  }

  /** Checks the image's consistency and repairs what `options.repair` says. ENOTSUP where there is nothing to check. */
  check(options: CheckOptions): Promise<ImageCheck> {
    const { image } = this.node
    if (image.check === undefined) {
      throw new BlockError('ENOTSUP', 'This image format does not support checks', { node: this.nodeName })
    }
    return drained([this.node], () => (image.check as NonNullable<typeof image.check>)(options))
  }

  /** Changes create options of the image in place. ENOTSUP where the format cannot. */
  amend(request: AmendRequest): Promise<void> {
    const { image, driver } = this.node
    if (image.amend === undefined) {
      throw new BlockError('ENOTSUP', `Format driver '${driver.name}' does not support option amendment`)
    }
    return this.#resizing(() => (image.amend as NonNullable<typeof image.amend>)(request))
  }

  /** Internal snapshots: list, create, apply, delete. */
  get snapshots(): Snapshots {
    const { snapshots } = this.node.image
    if (snapshots === undefined) {
      throw new BlockError('ENOTSUP', `driver '${this.node.driver.name}' has no internal snapshots`, {
        node: this.nodeName,
      })
    }
    return new DrainedSnapshots(this.node, snapshots)
  }

  /** Flushes and lets go of the disk. Errors of delayed writes come out here. */
  close(): Promise<void> {
    return this.graph.detachRoot(this)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Runs `work` drained, with the permission to resize. */
  #resizing<T>(work: () => Promise<T>): Promise<T> {
    return drained([this.node], async () => {
      const { permissions, shared } = this.edge
      await this.#setPermissions(permissions | Permission.Write | Permission.Resize, shared)
      try {
        return await work()
      } finally {
        await this.#setPermissions(permissions, shared)
      }
    })
  }

  async #setPermissions(permissions: number, shared: number): Promise<void> {
    const update = new PermissionUpdate()
    update.setEdge(this.edge, { permissions, shared })
    await update.apply()
  }
}

class DrainedSnapshots implements Snapshots {
  readonly #node: Node
  readonly #snapshots: Snapshots

  constructor(node: Node, snapshots: Snapshots) {
    this.#node = node
    this.#snapshots = snapshots
  }

  list(): readonly SnapshotInfo[] {
    return this.#snapshots.list()
  }

  create(snapshot: NewSnapshot): Promise<SnapshotInfo> {
    return drained([this.#node], () => this.#snapshots.create(snapshot))
  }

  apply(idOrName: string): Promise<void> {
    return drained([this.#node], () => this.#snapshots.apply(idOrName))
  }

  delete(idOrName: string): Promise<void> {
    return drained([this.#node], () => this.#snapshots.delete(idOrName))
  }

  load(idOrName: string): Promise<void> {
    return drained([this.#node], () => this.#snapshots.load(idOrName))
  }
}
