/** The graph itself: its nodes, its users, and the changes of what stands between them. */

import { type Clock, systemClock } from '../clock.ts'
import type { BlockEvent } from '../contract/contract.ts'
import type { DriverDescriptor } from '../contract/descriptor.ts'
import type { FilterOptions, NodeOptions } from '../contract/drivers.ts'
import { BlockError } from '../errors.ts'
import { type Inspect, inspected, inspection } from '../inspection.ts'
import { Listeners } from '../listeners.ts'
import { withoutSecrets } from '../options/filenames.ts'
import { type Blocker, freezeChain, refuseBlocked } from './blockers.ts'
import { Change, type ChangedGraph, type Definition } from './change.ts'
import { ChangeLock } from './change-lock.ts'
import type { GraphEdge, GraphRoot, Node } from './node.ts'
import { type GraphChange, NodeTable } from './node-table.ts'
import type { EdgePermissions } from './permissions.ts'

/** What a graph is made with, whatever opens its nodes. */
export interface BlockGraphSettings {
  /** Hears each warning once. Default: `console.warn` where there is a console. */
  readonly onWarning?: (message: string) => void
  /** Where the graph and its drivers get the time from. Default: the system. */
  readonly clock?: Clock
}

/** A graph as its users and changes see it; `Graph` adds how nodes come to be. */
export abstract class BlockGraph implements ChangedGraph {
  readonly clock: Clock
  /** @internal */
  readonly table = new NodeTable(this)
  /** @internal All users; changed by {@link Change} only. */
  readonly users = new Set<GraphRoot>()
  readonly #lock: ChangeLock
  readonly #changes = new Listeners<GraphChange>((message) => this.warn(message))
  readonly #events = new Listeners<BlockEvent>((message) => this.warn(message))
  readonly #warned = new Set<string>()
  readonly #onWarning: (message: string) => void
  readonly #ends = new Set<() => Promise<void>>()
  #ending: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(settings: BlockGraphSettings) {
    this.clock = settings.clock ?? systemClock
    this.#lock = new ChangeLock(this.clock, (message) => this.warn(message))
    this.#onWarning = settings.onWarning ?? ((message) => console.warn(message))
  }

  abstract readonly registry: { of(driver: unknown): Promise<DriverDescriptor> }

  /** @internal Opens a node in a change that is under way. */
  abstract openWithin(change: Change, definition: Definition): Promise<Node>

  /** The node called `name`. */
  find(name: string): Node | undefined {
    return this.table.get(name)
  }

  /**
   * Takes `name` for something that users find by name beside nodes (a device), until the result is called: no node gets
   * it meanwhile. EINVAL if a node or another device has it.
   */
  claimName(name: string): () => void {
    return this.table.claim(name)
  }

  /** All open nodes, in order of opening. */
  get nodes(): IterableIterator<Node> {
    return this.table.values()
  }

  /** All users of the graph. */
  get roots(): IterableIterator<GraphRoot> {
    return this.users.values()
  }

  /** What is worth knowing of the graph: its nodes and who uses them. Secrets and other objects are left out. */
  toJSON(): Readonly<Record<string, unknown>> {
    return { nodes: [...this.nodes], roots: [...this.users].map((root) => withoutSecrets(root.describe())) }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('Graph', this, options, inspect)
  }

  /**
   * Changes the graph: the one way to do it. Changes run one after the other, each as a whole or not at all; see
   * {@link Change}. Inside one, use the change that it is given: what the graph or a disk offers for changes (`truncate`,
   * `close`, `add` too) waits for its end, so waiting for that inside waits for ever (a warning tells after 10 s).
   * ECANCELED when `signal` is aborted before its turn.
   */
  change<T>(
    work: (change: Change) => Promise<T>,
    settings: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(closedError())
    return this.within(undefined, work, settings.signal)
  }

  /** @internal Runs `work` in `change`, which is under way, or in a change of its own, closing or not. */
  within<T>(change: Change | undefined, work: (change: Change) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return change === undefined ? this.#lock.run(() => new Change(this, signal).run(work), signal) : work(change)
  }

  /** Attaches a root of one's own (an export, a job). */
  async attachRoot<R extends GraphRoot>(root: R, settings: { readonly permissions: EdgePermissions }): Promise<R> {
    await this.change((change) => change.attach(root, settings.permissions))
    return root
  }

  /** Detaches a root and closes what only it used. */
  detachRoot(root: GraphRoot): Promise<void> {
    return this.#closing ?? this.within(undefined, (change) => change.detach(root))
  }

  /** Removes a node that was added without a user. EBUSY while it has one. */
  async remove(name: Node | string): Promise<void> {
    return this.change(async () => {
      const node = this.table.require(name)
      refuseBlocked(node, 'remove')
      if (node.pins > 0) throw new BlockError('EBUSY', `Node '${node.name}' is busy: it is being opened`)
      if (node.parents.size > 0) {
        const [user] = node.parents
        throw new BlockError(
          'EBUSY',
          `Node '${node.name}' is busy: node is used as '${user?.name}' of ${user?.parent.describe()}`,
        )
      }
      node.explicit = false
      await this.table.closeIfUnused(node)
    })
  }

  /** Runs `work` while no request is in flight above `node`; new requests wait until it is done. */
  drained<T>(node: Node | string, work: (change: Change) => Promise<T>): Promise<T> {
    return this.change(async (change) => {
      await change.drain(node)
      return work(change)
    })
  }

  /** Lets all parents of `from` (or those that `which` picks) use `to` instead, drained. */
  replace(from: Node | string, to: Node | string, which?: (edge: GraphEdge) => boolean): Promise<void> {
    return this.change((change) => change.replace(from, to, which))
  }

  /** Opens a filter over `node` and puts it between the node and its parents. */
  insertFilter(node: Node | string, filter: FilterOptions): Promise<Node> {
    return this.change((change) => change.insert(node, filter))
  }

  /** As {@link insertFilter}, for options that the compiler does not know, or a driver that is not registered. */
  insertFilterUnchecked(node: Node | string, filter: Readonly<Record<string, unknown>>): Promise<Node> {
    return this.change((change) => change.insertUnchecked(node, filter))
  }

  /** Takes a filter out again: its parents use its child from then on. */
  removeFilter(filter: Node | string): Promise<void> {
    return this.change((change) => change.remove(filter))
  }

  /** Adds, changes or (with undefined) removes the child `name` of `parent`, drained. */
  setChild(parent: Node | string, name: string, child: Node | NodeOptions | string | undefined): Promise<void> {
    return this.change((change) => change.setChild(parent, name, child))
  }

  /** Adds a child at the end of a list option of `parent`; returns its name, `children.3`. */
  addChild(parent: Node | string, list: string, child: Node | NodeOptions | string): Promise<string> {
    return this.change((change) => change.addChild(parent, list, child))
  }

  /** Changes options of an open node, all or none. EINVAL for options that cannot change. */
  reopen(node: Node | string, changes: Readonly<Record<string, unknown>>): Promise<void> {
    return this.change((change) => change.reopen(node, changes))
  }

  /** Blocks operations on a node, with the reason that others get to hear (EBUSY); the result ends that. */
  block(node: Node | string, blocker: Blocker): () => void {
    const { blockers } = this.table.require(node)
    const own = { ...blocker }
    blockers.add(own)
    return () => blockers.delete(own)
  }

  /** Lets no link of the chain from `top` down to `base` change (EPERM); the result ends that. */
  freezeChain(top: Node | string, base: Node | string, reason: string): () => void {
    return freezeChain(this.table.require(top), this.table.require(base), reason)
  }

  /** Calls `listener` after every change of the graph's shape and modes; the result ends that. */
  onChange(listener: (change: GraphChange) => void): () => void {
    return this.#changes.add(listener)
  }

  /** @internal */
  tellChange(change: GraphChange): void {
    this.#changes.tell(change, change.kind)
  }

  /** Calls `listener` for every event of a node; the result ends that. */
  onEvent(listener: (event: BlockEvent) => void): () => void {
    return this.#events.add(listener)
  }

  /** Raises an event. A listener that throws does not disturb the others. */
  emit(event: BlockEvent): void {
    this.#events.tell(event, event.event)
  }

  warn(message: string): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#onWarning(message)
  }

  /**
   * Calls `end` when the graph is to be closed, and waits for it: what stands on the graph (jobs, say) comes to its own
   * end while changes are still possible. The result takes it away.
   */
  beforeClose(end: () => Promise<void>): () => void {
    this.#ends.add(end)
    return () => this.#ends.delete(end)
  }

  /**
   * Detaches all users and closes all nodes, after the changes that have begun; openings are aborted. Everything is
   * tried, then the first error is thrown. A call that comes meanwhile waits for the same closing, and nothing can be
   * opened until it has ended; the graph is empty then, and may be used again.
   */
  close(): Promise<void> {
    this.#ending ??= this.#end().finally(() => {
      this.#ending = undefined
      this.#closing = undefined
    })
    return this.#ending
  }

  async #end(): Promise<void> {
    const ends = this.#ends.size === 0 ? [] : await Promise.allSettled([...this.#ends].map((end) => end()))
    this.#closing = this.closeAll()
    await this.#closing
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }

  protected async closeAll(): Promise<void> {
    const failures: unknown[] = []
    const attempt = (work: Promise<unknown>): Promise<unknown> => work.catch((error) => failures.push(error))
    // The changes that waited before may still attach users.
    await this.within(undefined, async () => undefined)
    for (const root of [...this.users]) await attempt(this.within(undefined, (change) => change.detach(root)))
    await this.within(undefined, async () => {
      for (const node of [...this.table.values()]) {
        node.explicit = false
        await attempt(this.table.closeIfUnused(node))
      }
    })
    if (failures.length > 0) throw failures[0]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Refuses what is new while the graph is being closed. */
  protected mustBeOpen(): void {
    if (this.#closing !== undefined) throw closedError()
  }
}

/** The error of whatever the closing of the graph ends or refuses. */
export function closedError(): BlockError {
  return new BlockError('ENODEV', 'the graph is being closed')
}
