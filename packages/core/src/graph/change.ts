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

import { done, type Prepared } from '../contract/contract.ts'
import { BlockError, toBlockError } from '../errors.ts'
import type { Graph } from '../graph.ts'
import type { Definition } from '../opening/opener.ts'
import type { GraphChange } from '../opening/settings.ts'
import { childSchema, filteredOption, listOf, nextChildName } from '../options/child-options.ts'
import { type AloneSettings, refuseBlocked, refuseFrozen } from './blockers.ts'
import { unlessAborted } from './change-lock.ts'
import { Edge } from './edge.ts'
import { emptyMedium } from './empty-medium.ts'
import type { GraphEdge, Node } from './node.ts'
import { type GraphRoot, isRoot } from './node.ts'
import { closeUnused } from './node-table.ts'
import { checkPermissions, type EdgePermissions, PermissionUpdate } from './permissions.ts'
import { endPrepared } from './prepared.ts'
import { Quiesce, refuseLoop, startsBelow } from './quiesce.ts'
import { StagedReopen } from './reopen.ts'

/**
 * One change of a graph: drains what it touches, stages moves and reopens, and commits all of it or nothing. Made by
 * `graph.change`, and valid until the work that it was given to has ended.
 */
export class Change {
  readonly graph: Graph
  readonly #quiesce = new Quiesce()
  readonly #reopens = new Map<Node, StagedReopen>()
  /** Nodes that may have lost their last user; true: a failure to close them is the caller's business. */
  readonly #orphans = new Map<Node, boolean>()
  #update: PermissionUpdate
  #undo: (() => void)[] = []
  #after: (() => void)[] = []
  readonly #signal: AbortSignal | undefined
  #adding: Promise<unknown> = done
  #ended = false
  /** @internal Nodes that have more permissions than they need, because an opening in this change must not give up any. */
  readonly kept = new Set<Node>()

  /** @internal */
  constructor(graph: Graph, signal?: AbortSignal) {
    this.graph = graph
    this.#signal = signal
    this.#update = new PermissionUpdate(this.#warn)
  }

  /** @internal Runs `work`, commits, and ends the change. */
  async run<T>(work: (change: Change) => Promise<T>): Promise<T> {
    try {
      const result = await work(this)
      await this.commit()
      const failure = await this.#end()
      if (failure !== undefined) throw failure.error
      return result
    } catch (error) {
      await this.#rollBack()
      await this.#end()
      throw error
    }
  }

  /** Holds `nodes` and everything above until the change ends; resolves when no request is in flight there. */
  async drain(...nodes: (Node | string)[]): Promise<void> {
    await this.#hold(...nodes.map((node) => this.graph.require(node)))
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
  async open(definition: Definition): Promise<Node> {
    this.#mustRun()
    const node = await this.graph.openWithin(this, definition)
    this.#orphans.set(node, this.#orphans.get(node) ?? false)
    this.#quiesce.extend()
    return node
  }

  /** Keeps `node` for the rest of the change, whoever lets go of it, and until the result is called. */
  pin(node: Node | string): () => void {
    this.#mustRun()
    const pinned = this.graph.require(node)
    pinned.pins++
    let held = true
    return () => {
      if (!held) return
      held = false
      pinned.pins = Math.max(0, pinned.pins - 1)
      if (!this.#ended) this.orphan(pinned)
      else void this.graph.within(undefined, () => this.graph.closeQuietly(pinned))
    }
  }

  /** Gives `root` its place in the graph. EPERM, when this is committed, if other users do not share what it needs. */
  async attach(root: GraphRoot, permissions: EdgePermissions): Promise<void> {
    this.#mustRun()
    const { edge } = root
    checkPermissions(permissions)
    if (this.graph.users.has(root)) throw new BlockError('EBUSY', `${root.describe()} is in the graph already`)
    refuseBlocked(this.graph.require(edge.node), 'attach')
    this.#link(edge)
    this.#update.setEdge(edge, permissions)
    this.graph.users.add(root)
    this.#undo.push(() => this.graph.users.delete(root))
    this.#quiesce.extend()
    this.#tell('root-attached', edge.node)
  }

  /** Takes `root` out, when none of its requests is in flight any more. Its errors of closing are the caller's. */
  async detach(root: GraphRoot): Promise<void> {
    this.#mustRun()
    if (root?.isRoot !== true) throw new BlockError('EINVAL', 'only a root can be detached')
    if (!this.graph.users.has(root)) return
    root.leave(true)
    this.#undo.push(() => root.leave(false))
    await this.#quiesce.relax(root.edge.node)
    await root.idle()
    this.#mustRun()
    this.#unlink(root.edge)
    this.#orphans.set(root.edge.node, true)
    this.graph.users.delete(root)
    this.#undo.push(() => this.graph.users.add(root))
    this.#after.push(() => root.shut())
    this.#tell('root-detached', root.edge.node)
  }

  /** Sets what the user behind `edge` does and shares. */
  setPermissions(edge: GraphEdge, value: EdgePermissions): void {
    this.#mustRun()
    checkPermissions(value)
    this.#update.setEdge(edge, value)
  }

  /** Lets `edge` lead to `to`; undefined takes the medium out of a root: its requests fail with ENOMEDIUM then. */
  async move(edge: GraphEdge, to: Node | string | undefined): Promise<void> {
    this.#mustRun()
    const { node: from, parent } = edge
    const target = to === undefined ? emptyMedium() : this.graph.require(to)
    if (!from.parents.has(edge)) throw new BlockError('EINVAL', `the edge '${edge.name}' is not in the graph`)
    if (from === target) return
    if (to === undefined && !isRoot(parent)) throw new BlockError('EINVAL', `${parent.describe()} needs its child`)
    refuseLoop(edge, target)
    refuseFrozen(edge)
    await this.#hold(from, target)
    from.parents.delete(edge)
    edge.node = target
    target.parents.add(edge)
    this.#undo.push(() => {
      target.parents.delete(edge)
      edge.node = from
      from.parents.add(edge)
    })
    this.orphan(from)
    this.#quiesce.extend()
    this.#update.touch(from)
    if (isRoot(parent)) this.#update.setEdge(edge, this.#update.edge(edge))
    else this.#update.touchChildren(parent)
    this.#after.push(() => edge.movedFrom(from))
    this.#tell('child-changed', isRoot(parent) ? target : parent, edge.name)
  }

  /** Lets the parents of `from` (or those that `which` picks) use `to`. Edges in `to`'s own subgraph stay. */
  async replace(
    from: Node | string,
    to: Node | string,
    which: (edge: GraphEdge) => boolean = () => true,
  ): Promise<void> {
    const [old, next] = [this.graph.require(from), this.graph.require(to)]
    refuseBlocked(old, 'replace')
    await this.#hold(old, next)
    for (const edge of [...old.parents]) {
      if (!startsBelow(edge, next) && which(edge)) await this.move(edge, next)
    }
    this.orphan(old)
  }

  /** Puts a new filter between a node and its parents. EINVAL for a driver that does not show what is below it. */
  async insert(node: Node | string, filter: Readonly<Record<string, unknown>>): Promise<Node> {
    const below = this.graph.require(node)
    const option = filteredOption(await this.graph.registry.of(filter?.driver))
    refuseBlocked(below, 'replace')
    await this.#hold(below)
    const above = await this.open({ readOnly: below.readOnly, discard: 'unmap', ...filter, [option]: below })
    await this.replace(below, above)
    return above
  }

  /** Takes a filter out: its parents use its child. */
  async remove(filter: Node | string): Promise<void> {
    this.#mustRun()
    const node = this.graph.require(filter)
    const child = node.filtered
    if (child === undefined) {
      throw new BlockError('EINVAL', `node '${node.name}' is not a filter: it has no filtered child`)
    }
    refuseBlocked(node, 'remove')
    refuseFrozen(child)
    await this.replace(node, child.node)
    const { explicit } = node
    node.explicit = false
    this.#undo.push(() => {
      node.explicit = explicit
    })
  }

  /** Sets or (with undefined) removes the backing file of `node`, in the graph only. */
  setBacking(node: Node | string, backing: Node | string | undefined): Promise<void> {
    return this.setChild(node, 'backing', backing)
  }

  /** Adds, swaps or (with undefined) removes a child. One of a list is named `children.3`. */
  async setChild(parent: Node | string, name: string, child: Node | string | undefined): Promise<void> {
    this.#mustRun()
    const above = this.graph.require(parent)
    const below = child === undefined ? undefined : this.graph.require(child)
    const schema = childSchema(above.driver, name)
    refuseBlocked(above, 'change-child')
    await this.#hold(above)
    above.image.checkChild?.(name, below)
    const old = above.children.get(name)
    if (below === undefined && schema.type === 'child' && schema.required) {
      throw new BlockError('EINVAL', `node '${above.name}' needs its child '${name}'`)
    }
    if (old !== undefined && below !== undefined) await this.move(old, below)
    else if (old !== undefined) this.#removeChild(above, old)
    else if (below !== undefined) this.#addChild(above, new Edge(above, name, schema.role, below))
    this.#after.push(() => above.image.childrenChanged?.(listOf(name)))
    this.#after.push(() => above.reopened())
  }

  /** Adds a child at the end of a list option; returns its name, `children.3`. */
  async addChild(parent: Node | string, list: string, child: Node | string): Promise<string> {
    this.#mustRun()
    const above = this.graph.require(parent)
    // One after the other: the next name is known when the child before is there.
    const adding = this.#adding.then(async () => {
      const name = nextChildName(above, list)
      await this.setChild(above, name, child)
      return name
    })
    this.#adding = adding.catch(() => undefined)
    return adding
  }

  /** Changes options (camelCase) of an open node; those of one commit take effect together. */
  async reopen(node: Node | string, changes: Readonly<Record<string, unknown>>): Promise<void> {
    const target = this.graph.require(node)
    refuseBlocked(target, 'reopen')
    await this.#hold(target)
    const staged = this.#reopens.get(target) ?? new StagedReopen(target)
    staged.add(changes)
    this.#reopens.set(target, staged)
  }

  /** Runs `work` on the image of `root` alone: drained, and with what `settings` asks for on top of its permissions. */
  async alone<T>(root: GraphRoot, settings: AloneSettings, work: (node: Node) => Promise<T>): Promise<T> {
    const { edge } = root
    if (!this.graph.users.has(root)) throw new BlockError('ENOMEDIUM', `${root.describe()} is closed`)
    refuseBlocked(edge.node, settings.operation)
    await this.#hold(edge.node)
    const { permissions, shared } = this.#update.edge(edge)
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
    const prepared: Prepared[] = []
    this.#update.review(this.kept)
    try {
      const reopens = [...this.#reopens.values()]
      for (const reopen of reopens) prepared.push(await reopen.prepare())
      // Modes come first, for the last one is committed first.
      for (const reopen of reopens) prepared.unshift(reopen.setMode(this.#update))
      prepared.push(await this.#update.prepare())
    } catch (error) {
      endPrepared(prepared, 'abort', this.#warn)
      await this.#rollBack()
      throw error
    }
    endPrepared(prepared, 'commit', this.#warn)
    for (const node of this.#reopens.keys()) this.#tell('reopened', node)
    const after = this.#after
    this.#forget()
    for (const step of after) this.#attempt(step)
  }

  #link(edge: GraphEdge): void {
    edge.node.parents.add(edge)
    this.#undo.push(() => edge.node.parents.delete(edge))
  }

  #unlink(edge: GraphEdge): void {
    const { node } = edge
    node.parents.delete(edge)
    this.#undo.push(() => node.parents.add(edge))
    this.#update.touch(node)
  }

  #addChild(parent: Node, edge: GraphEdge): void {
    refuseLoop(edge, edge.node)
    refuseBlocked(edge.node, 'attach')
    parent.children.set(edge.name, edge)
    this.#undo.push(() => parent.children.delete(edge.name))
    this.#link(edge)
    this.#quiesce.extend()
    this.#update.touchChildren(parent)
    this.#tell('child-changed', parent, edge.name)
  }

  #removeChild(parent: Node, edge: GraphEdge): void {
    refuseFrozen(edge)
    const order = [...parent.children]
    parent.children.delete(edge.name)
    this.#undo.push(() => {
      parent.children.clear()
      for (const [name, child] of order) parent.children.set(name, child)
    })
    this.#unlink(edge)
    this.orphan(edge.node)
    this.#tell('child-changed', parent, edge.name)
  }

  /** @internal Closes `node` at the end of the change, if nobody uses it then. */
  orphan(node: Node): void {
    if (!this.#orphans.has(node)) this.#orphans.set(node, false)
  }

  #tell(kind: GraphChange['kind'], node: Node, child?: string): void {
    this.#after.push(() =>
      this.graph.tellChange(child === undefined ? { kind, node: node.name } : { kind, node: node.name, child }),
    )
  }

  async #rollBack(): Promise<void> {
    for (const undo of this.#undo.reverse()) this.#attempt(undo)
    this.#update = new PermissionUpdate(this.#warn)
    this.#update.review(this.kept)
    await this.#update.apply().catch((error) => this.#warn(toBlockError(error).message))
    this.#forget()
  }

  #forget(): void {
    this.kept.clear()
    this.#undo = []
    this.#after = []
    this.#reopens.clear()
    this.#update = new PermissionUpdate(this.#warn)
  }

  readonly #warn = (message: string): void => this.graph.warn(message)

  #attempt(step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#warn(`a step after a change of the graph failed: ${toBlockError(error).message}`)
    }
  }

  /** Lets requests go on, then closes what nobody uses; the first failure that somebody asked to hear of. */
  async #end(): Promise<{ readonly error: unknown } | undefined> {
    if (this.#ended) return undefined
    this.#ended = true
    this.#quiesce.end()
    return closeUnused(this.graph, this.#orphans)
  }

  #mustRun(): void {
    if (this.#ended) throw new BlockError('EINVAL', 'this change of the graph has ended: start another one')
  }
}
