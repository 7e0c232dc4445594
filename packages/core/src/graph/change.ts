/**
 * A change of the graph: the one way in which its shape, its permissions and the modes of its nodes change.
 *
 * Changes run one after the other (the graph's change lock). Within one, edges are moved at once, while the nodes they
 * touch are drained, and each move leaves word how to undo it; nothing else has happened yet. A commit then computes
 * the permissions of the final shape once, lets every image concerned make ready (reopened options first, then
 * permissions), and commits all of it, or undoes the moves. `Graph.change` commits at the end; a change whose work
 * needs its effect in between (truncate needs the permission to resize) commits earlier, as often as it likes.
 * When it has ended, requests go on, and the nodes that nobody uses any more are closed.
 *     lock ─▶ drain ─▶ stage: move · link · reopen ─▶ prepare ─▶ commit ─▶ resume ─▶ close unused ─▶ unlock
 *                         │ failure anywhere: abort what is prepared, undo what is staged
 */

import { done } from '../contract/contract.ts'
import type { DriverDescriptor } from '../contract/descriptor.ts'
import type { FilterOptions, NodeOptions } from '../contract/drivers.ts'
import { BlockError, unlessAborted } from '../errors.ts'
import { mustBeFunction } from '../inspection.ts'
import { childSchema, filteredOption, listOf, nextChildName } from '../options/child-options.ts'
import { type AloneSettings, refuseBlocked, refuseFrozen } from './blockers.ts'
import { Edge } from './edge.ts'
import { withHeirs } from './inheritance.ts'
import { emptyMedium, type GraphEdge, type GraphRoot, isNode, isRoot, type Node } from './node.ts'
import type { ChangeUnderWay, GraphChange, NodeReport, NodeTable } from './node-table.ts'
import { checkPermissions, type EdgePermissions } from './permissions.ts'
import { Quiesce, refuseLoop, startsBelow } from './quiesce.ts'
import { parentNodes, Staging, takeOut } from './staging.ts'

/** A definition of a node: options by name, or a node that is open already. */
export type Definition = Readonly<Record<string, unknown>> | Node

/** What a change needs of the graph that it changes. */
export interface ChangedGraph extends NodeReport {
  /** @internal */
  readonly table: NodeTable
  /** @internal */
  readonly users: Set<GraphRoot>
  readonly registry: { of(driver: unknown): Promise<DriverDescriptor> }
  /** @internal Opens a node in `change`. */
  openWithin(change: Change, definition: Definition): Promise<Node>
  /** @internal Runs `work` in `change`, or in a change of its own. */
  within<T>(change: Change | undefined, work: (change: Change) => Promise<T>): Promise<T>
}

/** One change of a graph, made by `graph.change`, and valid until the work that it was given to has ended. */
export class Change implements ChangeUnderWay {
  readonly #graph: ChangedGraph
  readonly #quiesce = new Quiesce()
  /** Nodes that may have lost their last user; true: a failure to close them is the caller's business. */
  readonly #orphans = new Map<Node, boolean>()
  readonly #staging: Staging
  readonly #signal: AbortSignal | undefined
  #adding: Promise<unknown> = done
  #ended = false
  /** @internal */
  constructor(graph: ChangedGraph, signal?: AbortSignal) {
    this.#graph = graph
    this.#signal = signal
    this.#staging = new Staging((message) => graph.warn(message))
  }

  /** @internal See {@link ChangeUnderWay}. */
  get kept(): Set<Node> {
    return this.#staging.kept
  }

  /** @internal Runs `work`, commits, and ends the change. */
  async run<T>(work: (change: Change) => Promise<T>): Promise<T> {
    try {
      mustBeFunction('the work of a change', work)
      const result = await work(this)
      await this.commit()
      const failure = await this.#end()
      if (failure !== undefined) throw failure.error
      return result
    } catch (error) {
      await this.#staging.rollBack()
      await this.#end()
      throw error
    }
  }

  /** Holds `nodes` and everything above until the change ends; resolves when no request is in flight there. */
  async drain(...nodes: (Node | string)[]): Promise<void> {
    await this.#hold(...nodes.map((node) => this.#graph.table.require(node)))
  }

  /** {@link drain}; a step that waited for it goes on only if the change does. */
  async #hold(...nodes: Node[]): Promise<void> {
    this.#mustRun()
    await unlessAborted(this.#quiesce.hold(nodes), this.#signal)
    this.#mustRun()
  }

  /** Lets the requests of `root` (a job's, say) through its own drained section. */
  admit(root: GraphRoot): void {
    this.#mustRun()
    this.#quiesce.admit(root)
  }

  /** Opens a node; it is closed again when nobody uses it at the end of the change. */
  open(definition: NodeOptions | Node): Promise<Node> {
    return this.openUnchecked(definition as unknown as Definition)
  }

  /** As {@link open}, for options that the compiler does not know. They are validated all the same. */
  async openUnchecked(definition: Definition): Promise<Node> {
    this.#mustRun()
    const node = await this.#graph.openWithin(this, definition)
    this.#orphans.set(node, this.#orphans.get(node) ?? false)
    this.#quiesce.extend()
    return node
  }

  /** Keeps `node` for the rest of the change, whoever lets go of it, and until the result is called. */
  pin(node: Node | string): () => void {
    this.#mustRun()
    const pinned = this.#graph.table.require(node)
    pinned.pins++
    let held = true
    return () => {
      if (!held) return
      held = false
      pinned.pins = Math.max(0, pinned.pins - 1)
      if (!this.#ended) this.orphan(pinned)
      else void this.#graph.within(undefined, () => this.#graph.table.closeQuietly(pinned))
    }
  }

  /** Gives `root` its place in the graph. EPERM, when this is committed, if other users do not share what it needs. */
  async attach(root: GraphRoot, permissions: EdgePermissions): Promise<void> {
    this.#mustRun()
    const { edge } = root
    checkPermissions(permissions)
    if (this.#graph.users.has(root)) throw new BlockError('EBUSY', `${root.describe()} is in the graph already`)
    refuseBlocked(this.#graph.table.require(edge.node), 'attach')
    this.#link(edge)
    this.#staging.update.setEdge(edge, permissions)
    this.#graph.users.add(root)
    this.#staging.undo(() => this.#graph.users.delete(root))
    this.#quiesce.extend()
    this.#tell('root-attached', edge.node)
  }

  /** Takes `root` out, when none of its requests is in flight any more. Its errors of closing are the caller's. */
  async detach(root: GraphRoot): Promise<void> {
    this.#mustRun()
    if (root?.isRoot !== true) throw new BlockError('EINVAL', 'only a root can be detached')
    if (!this.#graph.users.has(root)) return
    root.leave(true)
    this.#staging.undo(() => root.leave(false))
    await this.#quiesce.relax(root.edge.node)
    await root.idle()
    this.#mustRun()
    this.#unlink(root.edge)
    this.#orphans.set(root.edge.node, true)
    this.#graph.users.delete(root)
    this.#staging.undo(() => this.#graph.users.add(root))
    this.#staging.after(() => root.shut())
    this.#tell('root-detached', root.edge.node)
  }

  /** Sets what the user behind `edge` does and shares. */
  setPermissions(edge: GraphEdge, value: EdgePermissions): void {
    this.#mustRun()
    checkPermissions(value)
    this.#staging.update.setEdge(edge, value)
  }

  /** Lets `edge` lead to `to`; undefined takes the medium out of a root: its requests fail with ENOMEDIUM then. */
  async move(edge: GraphEdge, to: Node | string | undefined): Promise<void> {
    this.#mustRun()
    const { node: from, parent } = edge
    const target = to === undefined ? emptyMedium() : this.#graph.table.require(to)
    if (!from.parents.has(edge)) throw new BlockError('EINVAL', `the edge '${edge.name}' is not in the graph`)
    if (from === target) return
    if (to === undefined && !isRoot(parent)) throw new BlockError('EINVAL', `${parent.describe()} needs its child`)
    refuseLoop(edge, target)
    refuseFrozen(edge)
    await this.#hold(from, target)
    from.parents.delete(edge)
    edge.node = target
    target.parents.add(edge)
    this.#staging.undo(() => {
      target.parents.delete(edge)
      edge.node = from
      from.parents.add(edge)
    })
    this.orphan(from)
    this.#quiesce.extend()
    this.#staging.update.touch(from)
    if (isRoot(parent)) this.#staging.update.setEdge(edge, this.#staging.update.edge(edge))
    else {
      this.#staging.update.touchChildren(parent)
      this.#staging.contentChanges(parent)
    }
    this.#staging.after(() => edge.movedFrom(from))
    this.#tell('child-changed', isRoot(parent) ? target : parent, { child: edge.name })
  }

  /** Lets the parents of `from` (or those that `which` picks) use `to`. Edges in `to`'s own subgraph stay. */
  async replace(
    from: Node | string,
    to: Node | string,
    which: (edge: GraphEdge) => boolean = () => true,
  ): Promise<void> {
    const [old, next] = [this.#graph.table.require(from), this.#graph.table.require(to)]
    refuseBlocked(old, 'replace')
    await this.#hold(old, next)
    for (const edge of [...old.parents]) {
      if (!startsBelow(edge, next) && which(edge)) await this.move(edge, next)
    }
    this.orphan(old)
  }

  /** Puts a new filter between a node and its parents. EINVAL for a driver that does not show what is below it. */
  insert(node: Node | string, filter: FilterOptions): Promise<Node> {
    return this.insertUnchecked(node, filter as unknown as Readonly<Record<string, unknown>>)
  }

  /** As {@link insert}, for options that the compiler does not know, or a driver that is not registered. */
  async insertUnchecked(node: Node | string, filter: Readonly<Record<string, unknown>>): Promise<Node> {
    const below = this.#graph.table.require(node)
    const option = filteredOption(await this.#graph.registry.of(filter?.driver))
    refuseBlocked(below, 'replace')
    await this.#hold(below)
    const above = await this.openUnchecked({ readOnly: below.readOnly, discard: 'unmap', ...filter, [option]: below })
    await this.replace(below, above)
    return above
  }

  /** Takes a filter out: its parents use its child. */
  async remove(filter: Node | string): Promise<void> {
    this.#mustRun()
    const node = this.#graph.table.require(filter)
    const child = node.filtered
    if (child === undefined) {
      throw new BlockError('EINVAL', `node '${node.name}' is not a filter: it has no filtered child`)
    }
    refuseBlocked(node, 'remove')
    refuseFrozen(child)
    await this.replace(node, child.node)
    const { explicit } = node
    node.explicit = false
    this.#staging.undo(() => {
      node.explicit = explicit
    })
  }

  /** Sets or (with undefined) removes the backing file of `node`, in the graph only. */
  setBacking(node: Node | string, backing: Node | string | undefined): Promise<void> {
    return this.setChild(node, 'backing', backing)
  }

  /** Adds, swaps or (with undefined) removes a child. One of a list is named `children.3`. A definition is opened. */
  async setChild(parent: Node | string, name: string, child: Node | NodeOptions | string | undefined): Promise<void> {
    this.#mustRun()
    const above = this.#graph.table.require(parent)
    const schema = childSchema(above.driver, name)
    refuseBlocked(above, 'change-child')
    const below = child === undefined ? undefined : await this.#nodeOf(child)
    await this.#hold(above)
    above.image.checkChild?.(name, below)
    const old = above.children.get(name)
    if (below === undefined && schema.type === 'child' && schema.required) {
      throw new BlockError('EINVAL', `node '${above.name}' needs its child '${name}'`)
    }
    if (old !== undefined && below !== undefined) await this.move(old, below)
    else if (old !== undefined) this.#removeChild(above, old)
    else if (below !== undefined) this.#addChild(above, new Edge(above, name, schema.role, below))
    this.#staging.after(() => above.image.childrenChanged?.(listOf(name)))
    this.#staging.after(() => above.reopened())
    this.#staging.contentChanges(above)
  }

  async #nodeOf(child: Node | NodeOptions | string): Promise<Node> {
    if (typeof child === 'string' || isNode(child)) return this.#graph.table.require(child)
    return this.open(child)
  }

  /** Adds a child at the end of a list option; returns its name, `children.3`. A definition is opened. */
  async addChild(parent: Node | string, list: string, child: Node | NodeOptions | string): Promise<string> {
    this.#mustRun()
    const above = this.#graph.table.require(parent)
    // One after the other: the next name is known when the child before is there.
    const adding = this.#adding.then(async () => {
      const name = nextChildName(above, list)
      await this.setChild(above, name, child)
      return name
    })
    this.#adding = adding.catch(() => undefined)
    return adding
  }

  /** Changes options (camelCase) of a node, and its cache mode for who follows it; those of one commit together. */
  async reopen(node: Node | string, changes: Readonly<Record<string, unknown>>): Promise<void> {
    const target = this.#graph.table.require(node)
    refuseBlocked(target, 'reopen')
    const staged = withHeirs(target, changes)
    await this.#hold(...staged.keys())
    this.#staging.reopen(staged)
    for (const changed of staged.keys()) this.#staging.contentChanges(...parentNodes(changed))
  }

  /** Runs `work` on the image of `root` alone: drained, and with what `settings` asks for on top of its permissions. */
  async alone<T>(root: GraphRoot, settings: AloneSettings, work: (node: Node) => Promise<T>): Promise<T> {
    const { edge } = root
    if (!this.#graph.users.has(root)) throw new BlockError('ENOMEDIUM', `${root.describe()} is closed`)
    refuseBlocked(edge.node, settings.operation)
    await this.#hold(edge.node)
    const { permissions, shared } = this.#staging.update.edge(edge)
    const more = (settings.permissions ?? 0) & ~permissions
    if (more !== 0) this.setPermissions(edge, { permissions: permissions | more, shared })
    await this.commit()
    try {
      return await work(edge.node)
    } finally {
      edge.node.tellSize()
      if (more !== 0) {
        this.setPermissions(edge, { permissions, shared })
        await this.commit()
      }
    }
  }

  /** Applies what was staged so far, all of it or nothing. */
  async commit(): Promise<void> {
    this.#mustRun()
    for (const node of await this.#staging.commit()) this.#graph.tellChange({ kind: 'reopened', node: node.name })
  }

  /** Runs `step` when what was staged so far has been committed, while requests are still held. It must not fail. */
  afterCommit(step: () => void): void {
    this.#mustRun()
    this.#staging.after(step)
  }

  /** Runs `step` if what was staged so far is taken back, the newest first. It must not fail. */
  onUndo(step: () => void): void {
    this.#mustRun()
    this.#staging.undo(step)
  }

  #link(edge: GraphEdge): void {
    edge.node.parents.add(edge)
    this.#staging.undo(() => edge.node.parents.delete(edge))
  }

  #unlink(edge: GraphEdge): void {
    const { node } = edge
    node.parents.delete(edge)
    this.#staging.undo(() => node.parents.add(edge))
    this.#staging.update.touch(node)
  }

  #addChild(parent: Node, edge: GraphEdge): void {
    refuseLoop(edge, edge.node)
    refuseBlocked(edge.node, 'attach')
    parent.children.set(edge.name, edge)
    this.#staging.undo(() => parent.children.delete(edge.name))
    this.#link(edge)
    this.#quiesce.extend()
    this.#staging.update.touchChildren(parent)
    this.#tell('child-changed', parent, { child: edge.name })
  }

  #removeChild(parent: Node, edge: GraphEdge): void {
    refuseFrozen(edge)
    this.#staging.undo(takeOut(parent.children, edge.name))
    this.#unlink(edge)
    this.orphan(edge.node)
    this.#tell('child-changed', parent, { child: edge.name })
  }

  /** @internal Closes `node` at the end of the change, if nobody uses it then. */
  orphan(node: Node): void {
    if (!this.#orphans.has(node)) this.#orphans.set(node, false)
  }

  #tell(kind: GraphChange['kind'], node: Node, more: { readonly child?: string } = {}): void {
    this.#staging.after(() => this.#graph.tellChange({ kind, node: node.name, ...more }))
  }

  /** Lets requests go on, then closes what nobody uses; the first failure that somebody asked to hear of. */
  async #end(): Promise<{ readonly error: unknown } | undefined> {
    if (this.#ended) return undefined
    this.#ended = true
    this.#quiesce.end()
    return this.#graph.table.closeUnused(this.#orphans)
  }

  #mustRun(): void {
    if (this.#ended) throw new BlockError('EINVAL', 'this change of the graph has ended: start another one')
  }
}
