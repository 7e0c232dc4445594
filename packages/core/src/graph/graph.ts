/** The graph of nodes: opens, finds, rearranges and closes them. */

import { type Clock, type RandomSource, systemClock, systemRandom } from '../clock.ts'
import { type BlockEvent, Permission } from '../contract/contract.ts'
import type { CreateOptions, NodeOptions } from '../contract/drivers.ts'
import { BlockError } from '../errors.ts'
import { Listeners } from '../listeners.ts'
import { createImage } from '../opening/create.ts'
import type { ReferencePolicy } from '../opening/gate.ts'
import { type Definition, Opener, type Scope } from '../opening/opener.ts'
import { newScope, Openings } from '../opening/openings.ts'
import { Registry } from '../opening/registry.ts'
import { describingFailure, nameOfDefinition } from '../options/described.ts'
import { fromQapi } from '../options/filenames.ts'
import { checkSettings, type GraphChange, type GraphSettings, type OpenSettings } from '../options/settings.ts'
import { type Blocker, freezeChain, refuseBlocked } from './blockers.ts'
import { Change } from './change.ts'
import { ChangeLock } from './change-lock.ts'
import { Disk } from './disk.ts'
import type { Edge } from './edge.ts'
import type { Node } from './node.ts'
import { NodeTable } from './node-table.ts'
import { ObjectTable } from './object-table.ts'
import { type GraphRoot, isNode } from './parent.ts'
import type { EdgePermissions } from './permissions.ts'
import type { RootSettings } from './root.ts'

/** The graph of nodes: opens, finds, changes and closes them. Close it, for images hold locks and unwritten metadata. */
export class Graph {
  readonly registry: Registry
  readonly references: ReferencePolicy
  readonly maxDepth: number
  readonly #nodes = new NodeTable(this)
  /** @internal All users; changed by {@link Change} only. */
  readonly users = new Set<GraphRoot>()
  readonly #lock: ChangeLock
  readonly #openings = new Openings()
  readonly #changes = new Listeners<GraphChange>((message) => this.warn(message))
  readonly clock: Clock
  readonly random: RandomSource
  #closing: Promise<void> | undefined
  readonly #opener = new Opener(this)
  /** Objects that drivers find by their id. */
  readonly objects = new ObjectTable()
  readonly #events = new Listeners<BlockEvent>((message) => this.warn(message))
  readonly #warned = new Set<string>()
  readonly #onWarning: (message: string) => void
  #generated = 0

  constructor(settings: GraphSettings) {
    checkSettings(settings)
    this.registry = new Registry(settings.drivers, settings.resolveDriver)
    this.references = settings.references ?? 'neighbours'
    this.maxDepth = settings.maxDepth ?? 256
    this.clock = settings.clock ?? systemClock
    this.random = settings.random ?? systemRandom
    this.#lock = new ChangeLock(this.clock, (message) => this.warn(message))
    this.#onWarning = settings.onWarning ?? ((message) => console.warn(message))
    for (const [id, value] of Object.entries(settings.secrets ?? {})) this.addSecret(id, value)
  }

  /** Opens a stack of nodes and a handle on its top. Closing the handle closes the nodes that nobody else uses. */
  add(options: NodeOptions, settings?: OpenSettings): Promise<Disk> {
    return this.addUnchecked(options as unknown as Readonly<Record<string, unknown>>, settings)
  }

  /** As {@link add}, for options in QAPI's spelling from outside (`json:` names, QMP): validated, not typed. */
  addQapi(options: Readonly<Record<string, unknown>>, settings?: OpenSettings): Promise<Disk> {
    return this.addUnchecked(fromQapi(options), settings)
  }

  /** As {@link add}, for options that the compiler does not know. They are validated all the same. */
  addUnchecked(options: Readonly<Record<string, unknown>>, settings: OpenSettings = {}): Promise<Disk> {
    return this.#opening(settings, async (scope) => this.#handle(await this.#openDescribed(options, scope), settings))
  }

  /**
   * Opens a file by name: a path, `http://…`, `json:{…}`, `blkdebug:…`. Without `format` the file is probed, and a
   * file that is taken for raw is guarded against turning into another format.
   */
  open(
    filename: string,
    options: { readonly format?: string } & Readonly<Record<string, unknown>> = {},
    settings: OpenSettings = {},
  ): Promise<Disk> {
    if (typeof filename !== 'string') return Promise.reject(new BlockError('EINVAL', 'a file name is a text'))
    const { format, ...rest } = options
    return this.#opening(settings, async (scope) => {
      const node = await describingFailure(filename, () => this.#opener.openFilename(filename, format, scope, rest))
      return this.#handle(node, settings)
    })
  }

  /** Adds a node without a user, as QMP's blockdev-add does. It stays until {@link remove}. */
  addNode(options: Readonly<Record<string, unknown>>, settings: OpenSettings = {}): Promise<Node> {
    return this.#opening(settings, async (scope) => {
      const node = await this.#openDescribed(options, scope)
      node.explicit = true
      node.pins--
      return node
    })
  }

  /** Makes a new image: storage first, then the format in it. The storage is removed again if the format fails. */
  create(options: CreateOptions, settings: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.createUnchecked(options as unknown as Readonly<Record<string, unknown>>, settings)
  }

  /** As {@link create}, for options that the compiler does not know. */
  createUnchecked(
    options: Readonly<Record<string, unknown>>,
    settings: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    return this.#opening(settings, ({ signal }) => createImage(this, options, signal))
  }

  /** The node called `name`. */
  find(name: string): Node | undefined {
    return this.#nodes.get(name)
  }

  /** All open nodes, in order of opening. */
  get nodes(): IterableIterator<Node> {
    return this.#nodes.values()
  }

  /** All users of the graph. */
  get roots(): IterableIterator<GraphRoot> {
    return this.users.values()
  }

  /**
   * Changes the graph: the one way to do it. Changes run one after the other, each as a whole or not at all; see
   * {@link Change}. Inside one, use the change that it is given: what the graph or a disk offers for changes (`truncate`,
   * `close`, `add` too) waits for its end, so waiting for that inside waits for ever (a warning tells after 10 s).
   * ECANCELED when `signal` is aborted before its turn.
   */
  change<T>(work: (change: Change) => Promise<T>, settings: { readonly signal?: AbortSignal } = {}): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(closedError())
    return this.within(undefined, work, settings.signal)
  }

  /** @internal Runs `work` in `change`, which is under way, or in a change of its own, closing or not. */
  within<T>(change: Change | undefined, work: (change: Change) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return change === undefined ? this.#lock.run(() => new Change(this, signal).run(work), signal) : work(change)
  }

  /** Opens a handle on a node that is in the graph. EPERM when its other users do not share what it needs. */
  async attach(node: Node | string, settings: OpenSettings = {}): Promise<Disk> {
    const { signal } = settings
    return this.change((change) => this.#attachDisk(change, this.require(node), settings), { signal })
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
      const node = this.require(name)
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
      await this.closeIfUnused(node)
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
  replace(from: Node | string, to: Node | string, which?: (edge: Edge) => boolean): Promise<void> {
    return this.change((change) => change.replace(from, to, which))
  }

  /** Opens a filter over `node` and puts it between the node and its parents. */
  insertFilter(node: Node | string, filter: Readonly<Record<string, unknown>>): Promise<Node> {
    return this.change((change) => change.insert(node, filter))
  }

  /** Takes a filter out again: its parents use its child from then on. */
  removeFilter(filter: Node | string): Promise<void> {
    return this.change((change) => change.remove(filter))
  }

  /** Adds, changes or (with undefined) removes the child `name` of `parent`, drained. */
  setChild(parent: Node | string, name: string, child: Node | string | undefined): Promise<void> {
    return this.change((change) => change.setChild(parent, name, child))
  }

  /** Adds a child at the end of a list option of `parent`; returns its name, `children.3`. */
  addChild(parent: Node | string, list: string, child: Node | string): Promise<string> {
    return this.change((change) => change.addChild(parent, list, child))
  }

  /** Changes options of an open node, all or none. EINVAL for options that cannot change. */
  reopen(node: Node | string, changes: Readonly<Record<string, unknown>>): Promise<void> {
    return this.change((change) => change.reopen(node, changes))
  }

  /** Blocks operations on a node, with the reason that others get to hear (EBUSY); the result ends that. */
  block(node: Node | string, blocker: Blocker): () => void {
    const { blockers } = this.require(node)
    const own = { ...blocker }
    blockers.add(own)
    return () => blockers.delete(own)
  }

  /** Lets no link of the chain from `top` down to `base` change (EPERM); the result ends that. */
  freezeChain(top: Node | string, base: Node | string, reason: string): () => void {
    return freezeChain(this.require(top), this.require(base), reason)
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

  /** Adds a secret object, for drivers whose options name it. */
  addSecret(id: string, value: Uint8Array | string): void {
    this.objects.add('secret', id, typeof value === 'string' ? new TextEncoder().encode(value) : value)
  }

  /** The bytes of a secret. EINVAL if there is none of that name. */
  secret(id: string): Uint8Array {
    return this.objects.get('secret', id) as Uint8Array
  }

  /**
   * Detaches all users and closes all nodes, after the changes that have begun; openings are aborted. Everything is
   * tried, then the first error is thrown. A call that comes meanwhile waits for the same closing, and nothing can be
   * opened until it has ended; the graph is empty then, and may be used again.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close().finally(() => {
      this.#closing = undefined
    })
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#openings.end(closedError())
    const failures: unknown[] = []
    const attempt = (work: Promise<unknown>): Promise<unknown> => work.catch((error) => failures.push(error))
    // The changes that waited before may still attach users.
    await this.within(undefined, async () => undefined)
    for (const root of [...this.users]) await attempt(this.within(undefined, (change) => change.detach(root)))
    await this.within(undefined, async () => {
      for (const node of [...this.#nodes.values()]) {
        node.explicit = false
        await attempt(this.closeIfUnused(node))
      }
    })
    if (failures.length > 0) throw failures[0]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal */
  generateName(): string {
    return `#block${String(++this.#generated).padStart(3, '0')}`
  }

  /** @internal See {@link NodeTable}. */
  reserving(name: string, open: () => Promise<Node>): Promise<Node> {
    return this.#nodes.reserving(name, open)
  }

  /** @internal In the change lock. */
  closeIfUnused(node: Node): Promise<void> {
    return this.#nodes.closeIfUnused(node)
  }

  /** @internal As {@link closeIfUnused}, where there is another error to report, or none to be made of this one. */
  closeQuietly(node: Node, change?: Change): Promise<void> {
    return this.#nodes.tolerate(this.#nodes.closeIfUnused(node, change))
  }

  /** @internal In the change lock. */
  discard(node: Node, change?: Change): Promise<void> {
    return this.#nodes.discard(node, change)
  }

  /** @internal Opens a node in a change that is under way. */
  async openWithin(change: Change, definition: Definition): Promise<Node> {
    const node = await this.#opener.open(definition, { ...newScope({}), change })
    node.pins--
    return node
  }

  /** @internal Opens a definition that nobody uses yet; the node is pinned. */
  openDefinition(definition: Definition, scope: Partial<Scope>): Promise<Node> {
    return this.#opening(scope, (own) => this.#opener.open(definition, { ...own, ...scope, signal: own.signal }))
  }

  /** @internal Takes back the pin of a node, which is closed if that is all that kept it. */
  async release(node: Node, change?: Change): Promise<void> {
    node.pins--
    await this.within(change, () => this.closeQuietly(node, change))
  }

  async #opening<T>(settings: OpenSettings, open: (scope: Scope) => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw closedError()
    return this.#openings.run(settings, open)
  }

  /** A handle on `node`, which is pinned until then. */
  #handle(node: Node, settings: OpenSettings): Promise<Disk> {
    return this.within(undefined, async (change) => {
      const unpin = change.pin(node)
      node.pins--
      try {
        const disk = await this.#attachDisk(change, node, settings)
        await change.commit()
        return disk
      } finally {
        unpin()
      }
    })
  }

  async #attachDisk(change: Change, node: Node, settings: OpenSettings): Promise<Disk> {
    const wanted = settings.permissions ?? Permission.ConsistentRead | (node.readOnly ? 0 : Permission.Write)
    const rootSettings: RootSettings = {
      description: `disk '${node.filename}'`,
      permissions: { permissions: wanted, shared: settings.shared ?? Permission.All },
      writethrough: settings.writethrough === true,
    }
    const disk = new Disk(this, node, rootSettings)
    await change.attach(disk, rootSettings.permissions)
    return disk
  }

  #openDescribed(options: Readonly<Record<string, unknown>>, scope: Scope): Promise<Node> {
    return describingFailure(nameOfDefinition(options), () => this.#opener.open(options, scope))
  }

  /** @internal The node, which must be in the graph. ENODEV if it is not. */
  require(node: Node | string): Node {
    if (isNode(node) && node.isEmpty && node.name === '') return node
    const found = isNode(node) ? node : this.#nodes.get(node)
    if (found === undefined || this.#nodes.get(found.name) !== found) {
      const name = isNode(node) ? node.name : String(node)
      throw new BlockError('ENODEV', `Cannot find device='${name}' nor node-name='${name}'`)
    }
    return found
  }
}

function closedError(): BlockError {
  return new BlockError('ENODEV', 'the graph is being closed')
}
