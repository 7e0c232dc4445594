/**
 * A node of the graph: a driver's open image, and all that the core does for it on the way of a request.
 *
 * The fast path is a direct call: a node without alignment, watchers, zero detection or probing guard forwards
 * to its image after two comparisons, and allocates nothing. Everything else is in `request/requests.ts`, which is
 * entered only when one of them applies. `simpleRead` and `simpleWrite` hold that decision; whatever changes it
 * calls {@link Node.updatePaths}.
 */

import { type ChildHandle, done, Flag, type OpenImage, Permission, type TruncateOptions } from '../contract/contract.ts'
import type { DriverDescriptor } from '../contract/descriptor.ts'
import type { DriverInfo } from '../contract/image-operations.ts'
import { BlockError } from '../errors.ts'
import { type Inspect, inspected, inspection } from '../inspection.ts'
import { withoutSecrets } from '../options/filenames.ts'
import { Activity, WaitingLine } from '../request/activity.ts'
import { Layer, type LayerSettings, noImage, readOnlyError } from '../request/layer.ts'
import { resolveLimits } from '../request/limits.ts'
import { discardRequest, readRequest, writeRequest, writeZeroesRequest } from '../request/requests.ts'
import type { Blocker } from './blockers.ts'

/** An edge as those at its two ends see it; an `Edge` is one. */
export interface GraphEdge extends ChildHandle {
  readonly parent: Parent
  /** The node behind it. Changed only by the graph, drained. */
  node: Node
  /** What the parent does with the child, as {@link Permission} bits. */
  permissions: number
  /** What the parent lets others do. */
  shared: number
  /** Why the edge may not be moved now. */
  readonly frozen: Set<{ readonly text: string }>
  /** How messages name the parent. */
  readonly parentName: string
  /** Tells the parent that `old` was behind this edge before. */
  movedFrom(old: Node): void
  /** How conflicts name this use of the child. */
  describe(): string
}

/**
 * A user of the graph from outside (a handle, an export, a job). `Root` is one; anything else of this shape is as good
 * (an export that lives in a worker, a class of another copy of this package).
 */
export interface GraphRoot {
  readonly isRoot: true
  readonly edge: GraphEdge
  /** The name of the device that it belongs to: messages call the node by it. */
  readonly deviceName?: string | undefined
  /** For messages: `block device 'disk0'`. */
  describe(): string
  /** Resolves when none of its requests is in flight. New ones wait while `edge.node.quiesced` is above 0. */
  idle(): Promise<void>
  /** Lets requests that waited go on. */
  resume(): void
  /** True: requests pass although the node is quiesced, and drained sections do not wait for them. */
  admitted: boolean
  /** Refuses every request from now on, those that wait included. */
  shut(): void
  /** Holds requests (true) while the root is being detached, or lets them go on (false). */
  leave(leaving: boolean): void
  /** The size may have changed, or another node stands behind the edge. */
  resized(): void
}

/** Who holds an edge. */
export type Parent = Node | GraphRoot

export function isRoot(parent: Parent): parent is GraphRoot {
  return parent.isRoot
}

const nodeBrand: unique symbol = Symbol.for('diskgraph.Node') as never

/** Whether `value` is a node of this copy of the package or another. */
export function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && nodeBrand in value
}

/** What a node is made of; see {@link Node}. */
interface NodeSettings extends LayerSettings {
  readonly options: Readonly<Record<string, unknown>>
  /** Values that were given as text and are none, as they were spelled: `json:` names repeat that. */
  readonly spelled?: Readonly<Record<string, unknown>>
  readonly filename: string
  readonly forceShare: boolean
  readonly children: ReadonlyMap<string, GraphEdge>
}

/** A node of the graph. Made by `Graph`; parents reach it through edges, users through a `Disk`. */
export class Node extends Layer {
  readonly isRoot = false
  /** The options as they were given, children left out. */
  options: Readonly<Record<string, unknown>>
  /** @internal See {@link NodeSettings}. */
  spelled: Readonly<Record<string, unknown>>
  readonly filename: string
  readonly forceShare: boolean
  /** Edges to children by name. Changed only by the graph, drained. */
  readonly children: Map<string, GraphEdge>
  /** Edges from parents. Changed only by the graph. */
  readonly parents = new Set<GraphEdge>()
  /** Union of what the parents do, and intersection of what they share, as {@link Permission} bits. */
  permissions = 0
  shared: number = Permission.All
  /** Kept although nobody uses it; the graph's `remove` ends that. */
  explicit = false
  /** Above 0: kept although nobody uses it yet, by whoever opens or changes it now. */
  pins = 0
  /** @internal Its driver is opening it now, and is counted as work. */
  opening = false
  /** Above 0: a drained section holds the node, and roots hold their requests. */
  quiesced = 0
  /** @internal Work under way that no request from above asked for. */
  readonly activity = new Activity()
  /** @internal Such work that waits for the end of a drained section. */
  readonly line = new WaitingLine()
  readonly blockers = new Set<Blocker>()
  /** @internal The parent that it was opened with, and follows when that is reopened. */
  inheritsFrom: Node | undefined
  /** @internal The name of the backing file by which the image was opened, and the file that it stood for. */
  referred: { readonly name: string; readonly filename: string } | undefined
  /** A filter that a job has put in: it goes with the job, and no image records it. */
  temporary = false
  /** Such a filter that nobody gave a name: where layers are told it is left out. */
  hidden = false
  /** @internal What was said of its own cache mode, and is not the parent's to change. */
  readonly ownCache = new Set<string>()
  /** It was told itself to be read-only, whatever its parent is. */
  ownReadOnly = false

  constructor(settings: NodeSettings) {
    super(settings)
    this.options = settings.options
    this.spelled = settings.spelled ?? {}
    this.filename = settings.filename
    this.forceShare = settings.forceShare
    this.children = new Map(settings.children)
    Object.defineProperty(this, nodeBrand, { value: true })
  }

  /** @internal The options have changed, and with them what the image can do. */
  reopened(): void {
    this.refreshLimits()
    this.tellSize()
  }

  /** @internal The limits of the image, or those of a child that it follows, may be others than before. */
  refreshLimits(): void {
    this.limits = resolveLimits(this.image.limits)
    this.updatePaths()
    for (const { parent } of this.parents) if (!isRoot(parent)) parent.refreshLimits()
  }

  read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.simpleRead && buf.length <= this.limits.maxTransfer) return this.image.read(offset, buf, flags, signal)
    return readRequest(this, offset, buf, flags, signal)
  }

  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.simpleWrite && buf.length <= this.limits.maxTransfer) {
      const end = offset + buf.length
      if (end > this.writtenUpTo) this.writtenUpTo = end
      const { image } = this
      if (flags === 0 || (flags & ~((image.writeFlags ?? 0) | Flag.Unchanged)) === 0) {
        const result = (image.write as NonNullable<OpenImage['write']>)(offset, buf, flags, signal)
        return end > this.toldSize ? this.counting(result, end) : result
      }
    }
    return writeRequest(this, offset, buf, flags, signal)
  }

  /** @internal Waits for a change of what lies below `end`, which may have made the image grow. */
  async counting(change: Promise<void>, end: number): Promise<void> {
    if (end > this.writtenUpTo) this.writtenUpTo = end
    try {
      await change
    } finally {
      this.tellSize()
    }
  }

  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    return writeZeroesRequest(this, offset, length, flags, signal)
  }

  /** A hint: dropped when the node ignores discards or the image has none. */
  discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return discardRequest(this, offset, length, signal)
  }

  /** Flushes the image's caches, then every child that may have been written. The first error is reported. */
  flush(signal?: AbortSignal): Promise<void> {
    if (this.cache.noFlush && this.driver.kind === 'protocol') return done
    const flush = this.image.flush
    if (this.children.size === 0) return flush === undefined ? done : flush.call(this.image, signal)
    return this.#flushWithChildren(signal)
  }

  async #flushWithChildren(signal?: AbortSignal): Promise<void> {
    const storage = this.storage
    await storage?.debugEvent('flush_to_os')
    // The children are flushed although the image could not be: what has reached them is worth keeping.
    const failures: unknown[] = []
    await attempt(() => this.image.flush?.(signal)).catch((error) => failures.push(error))
    if (!this.image.flushesChildren) {
      if (!this.cache.noFlush) await storage?.debugEvent('flush_to_disk')
      const flushes: Promise<void>[] = []
      for (const edge of this.children.values()) {
        const written = (edge.permissions & (Permission.Write | Permission.WriteUnchanged)) !== 0
        if (written) flushes.push(attempt(() => edge.flush(signal)))
      }
      for (const result of await Promise.allSettled(flushes)) {
        if (result.status === 'rejected') failures.push(result.reason)
      }
    }
    if (failures.length > 0) throw failures[0]
  }

  /** Sets the size. Runs drained. ENOTSUP when the image has a fixed size. */
  async truncate(size: number, options: TruncateOptions = {}, signal?: AbortSignal): Promise<void> {
    const { image } = this
    if (this.readOnly) throw readOnlyError(this)
    if (image.truncate === undefined) {
      throw new BlockError('ENOTSUP', 'Image format driver does not support resize', { node: this.name })
    }
    if (size < image.size) for (const notify of this.writeNotifiers) await notify(size, image.size - size, 'discard')
    try {
      await image.truncate(size, options, signal)
    } finally {
      this.tellSize()
    }
  }

  protected tellParents(): void {
    for (const { parent } of this.parents) {
      if (isRoot(parent)) parent.resized()
      else parent.tellSize()
    }
  }

  /**
   * Runs `work` that no request asked for (a copy in the background, a repair): a drained section waits for it, and
   * while one runs it waits for its turn.
   */
  async inBackground<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    // The section waits for an opening, which may be waiting for this.
    while (this.quiesced > 0 && !this.opening) await this.line.wait(signal)
    this.activity.enter()
    try {
      return await work()
    } finally {
      this.activity.leave()
    }
  }

  async info(): Promise<DriverInfo> {
    return (await this.image.info?.()) ?? {}
  }

  /** What is told of instead of it: the node itself, or what a hidden filter stands over. */
  get shown(): Node {
    return this.hidden ? (this.filtered?.node.shown ?? this) : this
  }

  /** What stays of it: the node itself, or what a temporary filter stands over. */
  get lasting(): Node {
    return this.temporary ? (this.filtered?.node.lasting ?? this) : this
  }

  /** The one child whose content a filter shows; undefined for other nodes. */
  get filtered(): GraphEdge | undefined {
    for (const edge of this.children.values()) if (edge.role === 'filtered') return edge
    return undefined
  }

  /** The backing file. */
  get backing(): GraphEdge | undefined {
    for (const edge of this.children.values()) if (edge.role === 'cow') return edge
    return undefined
  }

  /** The child that holds the content of this layer: `file`, or what a filter shows. */
  get storage(): GraphEdge | undefined {
    return this.children.get('file') ?? this.filtered
  }

  /** What is worth knowing of the node: no options, for one of them may be a secret. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { name, driver, size, readOnly } = this
    const children = Object.fromEntries([...this.children].map(([child, { nodeName }]) => [child, nodeName]))
    return { name, driver: driver.name, filename: withoutSecrets(this.filename), size, readOnly, children }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('Node', this, options, inspect)
  }

  /** The operation `name` that only some drivers have, of the nearest image from here downwards. ENOTSUP if none has it. */
  control(name: string): (...args: string[]) => unknown {
    const operation = this.image.control?.[name]
    if (operation !== undefined) return operation
    const { storage } = this
    if (storage === undefined) throw new BlockError('ENOTSUP', 'Operation not supported', { node: this.name })
    return storage.node.control(name)
  }
}

/** Calls `work`; what it throws at once is a rejection, too. */
async function attempt(work: () => Promise<void> | undefined): Promise<void> {
  await work()
}

/** A node for a root that has no medium: of no size, and every request fails with ENOMEDIUM. In no graph's table. */
export function emptyMedium(): Node {
  return new Node({
    name: '',
    driver: noDriver,
    options: {},
    filename: '',
    readOnly: false,
    cache: { direct: false, noFlush: false },
    discard: 'ignore',
    detectZeroes: 'off',
    forceShare: false,
    children: new Map(),
  })
}

const noDriver: DriverDescriptor = {
  name: 'empty',
  kind: 'protocol',
  description: 'no medium',
  options: {},
  open: async () => noImage,
}
