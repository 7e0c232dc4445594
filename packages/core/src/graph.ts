/** The graph of nodes: opens, finds, rearranges and closes them. */
import { topBase } from './base-options.ts'
import { type BlockEvent, type DriverDescriptor, Permission } from './contract.ts'
import { createImage } from './create.ts'
import { describingFailure, nameOfDefinition } from './described.ts'
import { Disk } from './disk.ts'
import { drained } from './drain.ts'
import type { CreateOptions, NodeOptions } from './drivers.ts'
import type { Edge } from './edge.ts'
import { BlockError, toBlockError } from './errors.ts'
import { fromQapi } from './filenames.ts'
import type { ReferencePolicy } from './gate.ts'
import type { Node } from './node.ts'
import { type Definition, Opener, type Scope } from './opener.ts'
import { PermissionUpdate } from './permissions.ts'
import { addChild, insertFilter, letGo, removeFilter, replaceNode, setChild } from './rearrange.ts'
import { type DriverResolver, type LazyDriver, Registry } from './registry.ts'
import { reopenNode } from './reopen.ts'
import type { ProbeGuard } from './requests.ts'
import type { Root, RootSettings } from './root.ts'

/** Settings of a {@link Graph}. */
export interface GraphSettings {
  /** The drivers that the graph may use; nothing else is loaded. */
  readonly drivers: Iterable<DriverDescriptor | LazyDriver>
  /** Finds a driver by name that is not in `drivers`. */
  readonly resolveDriver?: DriverResolver
  /** What to do with references inside images. Default: only neighbours with a recorded format. */
  readonly references?: ReferencePolicy
  /** Longest backing chain. Default 256. */
  readonly maxDepth?: number
  /** Secret objects by id, for drivers whose options name one. */
  readonly secrets?: Readonly<Record<string, Uint8Array | string>>
  /** Hears each warning once. Default: `console.warn` where there is a console. */
  readonly onWarning?: (message: string) => void
}

/** How {@link Graph.open} and {@link Graph.add} open. */
export interface OpenSettings {
  readonly signal?: AbortSignal
  /** Look at this image only: follow no reference, write nothing. */
  readonly inspect?: boolean
  /** Open to check: damage that a check can repair does not fail the open. Holds for the top node only. */
  readonly check?: boolean
  /** Open without the backing file. */
  readonly withoutBacking?: boolean
  /** Every write is on stable storage before it completes. */
  readonly writethrough?: boolean
  /** Use the node without any permission: for `info`-like callers. */
  readonly permissions?: number
  /** What others may do meanwhile. Default: everything. */
  readonly shared?: number
}

/** See the top of the file. Close it (or `await using` it): open images hold locks and unwritten metadata. */
export class Graph {
  readonly registry: Registry
  readonly references: ReferencePolicy
  readonly maxDepth: number
  readonly #nodes = new Map<string, Node>()
  readonly #reserved = new Set<string>()
  readonly #roots = new Set<Root>()
  readonly #opener = new Opener(this)
  readonly #secrets = new Map<string, Uint8Array>()
  readonly #listeners = new Set<(event: BlockEvent) => void>()
  readonly #warned = new Set<string>()
  readonly #onWarning: (message: string) => void
  #generated = 0

  constructor(settings: GraphSettings) {
    this.registry = new Registry(settings.drivers, settings.resolveDriver)
    this.references = settings.references ?? 'neighbours'
    this.maxDepth = settings.maxDepth ?? 256
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
  async addUnchecked(options: Readonly<Record<string, unknown>>, settings: OpenSettings = {}): Promise<Disk> {
    const node = await this.#openDescribed(options, settings)
    return this.#handle(node, settings)
  }

  /**
   * Opens a file by name: a path, `http://…`, `json:{…}`, `blkdebug:…`. Without `format` the file is probed, and a
   * file that is taken for raw is guarded against turning into another format.
   */
  async open(
    filename: string,
    options: { readonly format?: string } & Readonly<Record<string, unknown>> = {},
    settings: OpenSettings = {},
  ): Promise<Disk> {
    const { format, ...rest } = options
    const node = await describingFailure(filename, () =>
      this.#opener.openFilename(filename, format, this.#scope(settings), rest),
    )
    return this.#handle(node, settings)
  }

  /** Adds a node without a user, as QMP's blockdev-add does. It stays until {@link remove}. */
  async addNode(options: Readonly<Record<string, unknown>>, settings: OpenSettings = {}): Promise<Node> {
    const node = await this.#openDescribed(options, settings)
    node.explicit = true
    return node
  }

  /** Makes a new image: storage first, then the format in it. The storage is removed again if the format fails. */
  create(options: CreateOptions, settings: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return createImage(this, options as unknown as Readonly<Record<string, unknown>>, settings.signal)
  }

  /** As {@link create}, for options that the compiler does not know. */
  createUnchecked(
    options: Readonly<Record<string, unknown>>,
    settings: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    return createImage(this, options, settings.signal)
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
  get roots(): IterableIterator<Root> {
    return this.#roots.values()
  }

  /** Opens a handle on a node that is in the graph. EPERM when its other users do not share what it needs. */
  async attach(node: Node | string, settings: OpenSettings = {}): Promise<Disk> {
    return this.#handle(this.#require(node), settings)
  }

  /** Attaches a root of one's own (an export, a job). */
  async attachRoot<R extends Root>(root: R, settings: RootSettings): Promise<R> {
    this.#require(root.node)
    const { edge } = root
    root.node.parents.add(edge)
    const update = new PermissionUpdate()
    update.setEdge(edge, settings.permissions)
    try {
      await update.apply()
    } catch (error) {
      edge.node.parents.delete(edge)
      throw error
    }
    this.#roots.add(root)
    return root
  }

  /** Detaches a root and closes what only it used. */
  async detachRoot(root: Root): Promise<void> {
    if (!this.#roots.has(root)) return
    await root.pause()
    root.shut()
    root.resume()
    this.#roots.delete(root)
    await this.#detach(root.edge)
  }

  /** Removes a node that was added without a user. EBUSY while it has one. */
  async remove(name: Node | string): Promise<void> {
    const node = this.#require(name)
    if (node.parents.size > 0) {
      const [user] = node.parents
      throw new BlockError(
        'EBUSY',
        `Node '${node.name}' is busy: node is used as '${user?.name}' of ${user?.parent.describe()}`,
      )
    }
    node.explicit = false
    await this.closeIfUnused(node)
  }

  /** Runs `work` while no request is in flight above `node`; new requests wait until it is done. */
  drained<T>(node: Node | string, work: () => Promise<T>): Promise<T> {
    return drained([this.#require(node)], work)
  }

  /** Lets all parents of `from` (or those that `which` picks) use `to` instead, drained. */
  replace(from: Node | string, to: Node | string, which?: (edge: Edge) => boolean): Promise<void> {
    return replaceNode(this, this.#require(from), this.#require(to), which)
  }

  /** Opens a filter over `node` (its child option `childOption`) and puts it between the node and its parents. */
  insertFilter(node: Node | string, filter: Readonly<Record<string, unknown>>, childOption = 'file'): Promise<Node> {
    return insertFilter(this, this.#require(node), filter, childOption)
  }

  /** Takes a filter out again: its parents use its child from then on. */
  removeFilter(filter: Node | string): Promise<void> {
    return removeFilter(this, this.#require(filter))
  }

  /** Adds, changes or (with undefined) removes the child `name` of `parent`, drained. */
  setChild(parent: Node | string, name: string, child: Node | string | undefined): Promise<void> {
    return setChild(this, this.#require(parent), name, child === undefined ? undefined : this.#require(child))
  }

  /** Adds a child at the end of a list option of `parent`; returns its name, `children.3`. */
  addChild(parent: Node | string, list: string, child: Node | string): Promise<string> {
    return addChild(this, this.#require(parent), list, this.#require(child))
  }

  /** Changes options of an open node, all or none. EINVAL for options that cannot change. */
  reopen(node: Node | string, changes: Readonly<Record<string, unknown>>): Promise<void> {
    return reopenNode(this.#require(node), changes)
  }

  /** Calls `listener` for every event of a node; the result ends that. */
  onEvent(listener: (event: BlockEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Raises an event. A listener that throws does not disturb the others. */
  emit(event: BlockEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (error) {
        this.warn(`a listener of ${event.event} failed: ${toBlockError(error).message}`)
      }
    }
  }

  warn(message: string): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#onWarning(message)
  }

  addSecret(id: string, value: Uint8Array | string): void {
    this.#secrets.set(id, typeof value === 'string' ? new TextEncoder().encode(value) : value)
  }

  /** The bytes of a secret. EINVAL if there is none of that name. */
  secret(id: string): Uint8Array {
    const value = this.#secrets.get(id)
    if (value === undefined) throw new BlockError('EINVAL', `No secret with id '${id}'`)
    return value
  }

  /** Detaches all users and closes all nodes. The first error is thrown after everything was tried. */
  async close(): Promise<void> {
    const failures: unknown[] = []
    const attempt = (work: Promise<unknown>): Promise<unknown> => work.catch((error) => failures.push(error))
    for (const root of [...this.#roots]) await attempt(this.detachRoot(root))
    for (const node of [...this.#nodes.values()]) {
      node.explicit = false
      await attempt(this.closeIfUnused(node))
    }
    if (failures.length > 0) throw failures[0]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal */
  generateName(): string {
    return `#block${String(++this.#generated).padStart(3, '0')}`
  }

  /** @internal Runs `open`, which opens a node called `name`, and puts the node into the table. EEXIST-like EINVAL on a clash. */
  async reserving(name: string, open: () => Promise<Node>): Promise<Node> {
    if (this.#nodes.has(name) || this.#reserved.has(name)) {
      throw new BlockError('EINVAL', `Duplicate nodes with node-name='${name}'`)
    }
    this.#reserved.add(name)
    try {
      const node = await open()
      this.#nodes.set(name, node)
      return node
    } finally {
      this.#reserved.delete(name)
    }
  }

  /** @internal Closes a node that has no parent and was not added explicitly, and then its children likewise. */
  async closeIfUnused(node: Node): Promise<void> {
    if (node.parents.size > 0 || node.explicit || this.#nodes.get(node.name) !== node) return
    this.#nodes.delete(node.name)
    await this.discard(node)
  }

  /** @internal Closes a node that is not in the table (any more): flush, close, let go of its children. All of it is tried. */
  async discard(node: Node): Promise<void> {
    let failure: unknown
    const keep = (error: unknown): void => {
      failure ??= error
    }
    // An image that flushes its children itself decides which of their failures count.
    const tolerant = node.image.flushesChildren === true
    if (!node.readOnly && node.image.write !== undefined) await node.flush().catch(keep)
    await node.image.close?.().catch(keep)
    node.detachImage()
    for (const edge of [...node.children.values()]) {
      node.children.delete(edge.name)
      const closing = this.#detach(edge)
      await (tolerant ? letGo(this, closing) : closing).catch(keep)
    }
    if (failure !== undefined) throw failure
  }

  /** @internal Lets go of one child. */
  async detachChild(node: Node, name: string): Promise<void> {
    const edge = node.children.get(name)
    if (edge === undefined) return
    node.children.delete(name)
    await this.#detach(edge)
  }

  /** @internal Opens a definition whose node nobody uses yet. */
  openDefinition(definition: Definition, scope?: Partial<Scope>): Promise<Node> {
    return this.#opener.open(definition, { ...this.#scope({}), ...scope })
  }

  /** @internal The name of the format in `node`, by its first bytes. */
  async probeNode(node: Node): Promise<string> {
    const head = new Uint8Array(Math.min(2048, node.size))
    await node.read(0, head, 0)
    return this.registry.probe(head, node.filename)
  }

  /** @internal */
  probeGuard(node: Node): ProbeGuard {
    return (head) => this.registry.looksFormatted(head, node.filename)
  }

  async #detach(edge: Edge): Promise<void> {
    const { node } = edge
    node.parents.delete(edge)
    const update = new PermissionUpdate()
    update.touch(node)
    try {
      await update.apply()
    } finally {
      await this.closeIfUnused(node)
    }
  }

  async #handle(node: Node, settings: OpenSettings): Promise<Disk> {
    const wanted = settings.permissions ?? Permission.ConsistentRead | (node.readOnly ? 0 : Permission.Write)
    const rootSettings: RootSettings = {
      description: `disk '${node.filename}'`,
      permissions: { permissions: wanted, shared: settings.shared ?? Permission.All },
      writethrough: settings.writethrough === true,
    }
    try {
      return await this.attachRoot(new Disk(this, node, rootSettings), rootSettings)
    } catch (error) {
      await this.closeIfUnused(node)
      throw error
    }
  }

  #openDescribed(options: Readonly<Record<string, unknown>>, settings: OpenSettings): Promise<Node> {
    return describingFailure(nameOfDefinition(options), () => this.#opener.open(options, this.#scope(settings)))
  }

  #scope(settings: OpenSettings): Scope {
    return {
      depth: 0,
      chain: new Map(),
      inspect: settings.inspect === true,
      check: settings.check === true,
      withoutBacking: settings.withoutBacking === true,
      base: topBase,
      contain: undefined,
      signal: settings.signal,
    }
  }

  #require(node: Node | string): Node {
    const found = typeof node === 'string' ? this.#nodes.get(node) : node
    if (found === undefined || this.#nodes.get(found.name) !== found) {
      const name = typeof node === 'string' ? node : node.name
      throw new BlockError('ENODEV', `Cannot find device='${name}' nor node-name='${name}'`)
    }
    return found
  }
}
