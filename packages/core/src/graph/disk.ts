/** The handle of a user on a node. */

import { isByteCount, maxOffset } from '../bytes.ts'
import { Permission, type Preallocation, type TruncateOptions } from '../contract/contract.ts'
import type {
  AmendRequest,
  CheckOptions,
  CompactOptions,
  CompactResult,
  DriverInfo,
  ImageCheck,
  Repair,
  Snapshots,
} from '../contract/image-operations.ts'
import { BlockError } from '../errors.ts'
import { type Inspect, inspected, inspection } from '../inspection.ts'
import { withoutSecrets } from '../options/filenames.ts'
import { isRecord, validateAmend } from '../options/validate.ts'
import type { BlockGraph } from './block-graph.ts'
import { type Extent, mergedExtents } from './extents.ts'
import type { Node } from './node.ts'
import { Root, type RootSettings } from './root.ts'

/** Which part of a disk {@link Disk.extents} looks at. */
export interface ExtentOptions {
  /** Default 0. */
  readonly offset?: number | undefined
  /** Default: to the end. */
  readonly length?: number | undefined
  /** Look at the layers above this node only. */
  readonly base?: Node | undefined
  readonly signal?: AbortSignal | undefined
}

/** How a handle is made on a node that is in the graph. */
export interface AttachSettings {
  readonly signal?: AbortSignal | undefined
  /** Every write is on stable storage before it completes. */
  readonly writethrough?: boolean | undefined
  /** What the handle does with the node. Default: reads, and writes when the node is writable. 0 for `info`-like callers. */
  readonly permissions?: number | undefined
  /** What others may do meanwhile. Default: everything. */
  readonly shared?: number | undefined
}

/** The graph of a disk. */
export interface DiskGraph extends BlockGraph {
  /** Opens a handle on a node that is in the graph. EPERM when its other users do not share what it needs. */
  attach(node: Node | string, settings?: AttachSettings): Promise<Disk>
}

/**
 * An open disk. Close it (or `await using` it); closing closes the nodes below that nobody else uses.
 * Operations on the whole image (truncate, check with repair, amend, compact, snapshots) wait for requests in flight.
 */
export class Disk extends Root {
  readonly graph: DiskGraph
  #closing: Promise<void> | undefined

  constructor(graph: DiskGraph, node: Node, settings: RootSettings) {
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

  /**
   * The extents of the disk, from the lowest offset on, without gaps and each as long as can be: what is data, zero, or
   * absent, and in which layer. EINVAL for a range that is none; one that passes the end is cut there.
   */
  extents(options: ExtentOptions = {}): AsyncGenerator<Extent> {
    const { offset = 0, length = maxOffset - offset, base, signal } = options
    mustBeBytes('offset', offset)
    mustBeBytes('length', length)
    const end = offset + length
    const next = (at: number): Promise<Extent | undefined> =>
      at >= end ? Promise.resolve(undefined) : this.status(at, end - at, base, signal)
    return mergedExtents(offset, next)
  }

  /** Sets the size in bytes. EPERM on a disk that may not be written, ENOTSUP where the format or the storage cannot. */
  async truncate(size: number, options?: TruncateOptions, signal?: AbortSignal): Promise<void> {
    mustBeBytes('size', size)
    mustBeOneOf('preallocation', options?.preallocation ?? 'off', preallocations)
    return this.#alone('resize', (node) => node.truncate(size, options, signal), signal)
  }

  /** What the driver tells of the image of the top node beyond its size; empty where it tells nothing. */
  info(): Promise<DriverInfo> {
    return this.request(() => this.node.info())
  }

  /** Checks the image's consistency and repairs what `options.repair` says. ENOTSUP where there is nothing to check. */
  async check(options: CheckOptions = {}): Promise<ImageCheck> {
    const { repair = 'none', signal } = options
    mustBeOneOf('repair', repair, repairs)
    return this.graph.change(
      async (change) => {
        if (repair !== 'none') this.#mustWrite('repair')
        return change.alone(this, { operation: 'check' }, ({ image }) => {
          if (image.check !== undefined) return image.check({ ...options, repair })
          throw new BlockError('ENOTSUP', 'This image format does not support checks', { node: this.nodeName })
        })
      },
      { signal },
    )
  }

  /**
   * Changes create options (`request.options`, camelCase) of the image in place. EINVAL for options that may not change,
   * ENOTSUP where the format cannot.
   */
  async amend(request: AmendRequest): Promise<void> {
    if (!isRecord(request?.options)) throw new BlockError('EINVAL', 'amend({ options }) takes options by name')
    const amend = async ({ image, driver }: Node): Promise<void> => {
      if (image.amend !== undefined) {
        const options = validateAmend(driver.amendOptions ?? driver.createOptions ?? {}, request.options)
        return image.amend({ ...request, options })
      }
      throw new BlockError('ENOTSUP', `Format driver '${driver.name}' does not support option amendment`)
    }
    return this.#alone('amend', amend, request.signal)
  }

  /**
   * Moves what the image holds to the start of its file, and cuts that; whoever ends it early keeps what was done. ENOTSUP
   * where the format cannot, EIO when the image is damaged.
   */
  compact(options: CompactOptions = {}): Promise<CompactResult> {
    const compact = async ({ image, driver }: Node): Promise<CompactResult> => {
      if (image.compact !== undefined) return image.compact(options)
      throw new BlockError('ENOTSUP', `Format driver '${driver.name}' cannot make its images compact`)
    }
    return this.#alone('compact', compact, options.signal)
  }

  /** Internal snapshots: list, create, apply, delete, load. ENOTSUP where the format has none, ENOMEDIUM when it is closed. */
  get snapshots(): Snapshots {
    this.#snapshots()
    const alone = <T>(work: (snapshots: Snapshots) => Promise<T>, permissions = 0): Promise<T> =>
      this.graph.change((change) =>
        change.alone(this, { operation: 'snapshot', permissions }, () => work(this.#snapshots())),
      )
    const change = <T>(work: (snapshots: Snapshots) => Promise<T>, permissions = 0): Promise<T> =>
      alone(async (snapshots) => {
        this.#mustWrite('change snapshots')
        return work(snapshots)
      }, permissions)
    return {
      list: () => this.#snapshots().list(),
      create: async (snapshot) => {
        if (typeof snapshot?.name !== 'string')
          throw new BlockError('EINVAL', 'a snapshot needs a name, which is a text')
        return change((snapshots) => snapshots.create(snapshot))
      },
      apply: (idOrName) =>
        change((snapshots) => {
          // They would not tell what changes.
          const recorded = this.node.dirtyBitmaps.some(({ name }) => name !== undefined)
          if (recorded) throw new BlockError('EBUSY', 'Device has active dirty bitmaps', { node: this.nodeName })
          return snapshots.apply(idOrName)
        }, Permission.Resize),
      delete: (idOrName) => change((snapshots) => snapshots.delete(idOrName)),
      load: (idOrName) => alone((snapshots) => snapshots.load(idOrName)),
    }
  }

  override toJSON(): Readonly<Record<string, unknown>> {
    const { description: _, ...own } = super.toJSON()
    return { filename: withoutSecrets(this.filename), ...own }
  }

  override [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('Disk', this, options, inspect)
  }

  /** Flushes and lets go of the disk. Errors of delayed writes come out here. Every call waits for the same closing. */
  close(): Promise<void> {
    this.#closing ??= this.graph.detachRoot(this)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Refuses a change through a disk that was opened for reading. On a read-only node the image itself says why not. */
  #mustWrite(verb: string): void {
    if (!this.node.readOnly && (this.edge.permissions & Permission.Write) === 0) throw this.refusal(verb)
  }

  #snapshots(): Snapshots {
    const { driver, image } = this.node
    if (this.closed) throw new BlockError('ENOMEDIUM', `cannot use the snapshots of ${this.describe()}: it is closed`)
    if (image.snapshots !== undefined) return image.snapshots
    throw new BlockError('ENOTSUP', `driver '${driver.name}' has no internal snapshots`, { node: this.nodeName })
  }

  /** Runs `work` drained, with the permissions that the operation takes. */
  async #alone<T>(
    operation: keyof typeof changing,
    work: (node: Node) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const { verb, needs, permissions, blockedAs } = changing[operation]
    return this.graph.change(
      async (change) => {
        if ((this.edge.permissions & needs) === 0) throw this.refusal(verb)
        return change.alone(this, { operation: blockedAs, permissions }, work)
      },
      { signal },
    )
  }
}

/** What a disk must have for an operation, and what that takes meanwhile. Users who share no writes may share resizing. */
const changing = {
  resize: {
    verb: 'truncate',
    blockedAs: 'resize',
    needs: Permission.Write | Permission.Resize,
    permissions: Permission.Resize,
  },
  amend: {
    verb: 'amend',
    blockedAs: 'amend',
    needs: Permission.Write,
    permissions: Permission.Write | Permission.Resize,
  },
  compact: { verb: 'compact', blockedAs: 'amend', needs: Permission.Write, permissions: Permission.Write },
} as const

const repairs: readonly Repair[] = ['none', 'leaks', 'all']
const preallocations: readonly Preallocation[] = ['off', 'metadata', 'falloc', 'full']

function mustBeOneOf(name: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return
  throw new BlockError('EINVAL', `the ${name} '${String(value)}' is none of ${allowed.join(', ')}`)
}

/** Throws EINVAL for what is no number of bytes. */
function mustBeBytes(name: string, value: number): void {
  if (isByteCount(value)) return
  throw new BlockError('EINVAL', `the ${name} ${String(value)} is not a whole number of bytes`)
}
