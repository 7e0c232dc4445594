/**
 * The opening of one node, as the rest of the graph sees it. A node links to children that may be in use by others, and
 * then its driver reads from them; no root counts these requests. So an opening counts itself as work of its node,
 * which drained sections wait for, except while it waits for the change lock itself, for then the section it would
 * keep waiting may be the one that holds the lock.
 */

import type { ChildRole } from '../contract/contract.ts'
import { refuseBlocked } from '../graph/blockers.ts'
import type { Change } from '../graph/change.ts'
import { Edge } from '../graph/edge.ts'
import type { Node } from '../graph/node.ts'
import type { NodeReport, NodeTable } from '../graph/node-table.ts'
import { PermissionUpdate } from '../graph/permissions.ts'

/** A child that is open, and pinned until it is linked. */
export interface OpenedChild {
  readonly name: string
  readonly role: ChildRole
  readonly node: Node
  /** It was opened for this parent, and is reopened with it. */
  readonly follows?: boolean
}

/** What an opening needs of the graph that it happens in. */
export interface OpeningGraph extends NodeReport {
  readonly table: NodeTable
  /** Runs `work` in `change`, or in a change of its own. */
  within<T>(change: Change | undefined, work: (change: Change) => Promise<T>): Promise<T>
}

/** Takes back the pin of a node, which is closed if that is all that kept it. */
export async function release(graph: OpeningGraph, node: Node, change: Change | undefined): Promise<void> {
  node.pins--
  await graph.within(change, () => graph.table.closeQuietly(node, change))
}

/** See the top of the file. */
export class Opening {
  readonly node: Node
  readonly #graph: OpeningGraph
  readonly #change: Change | undefined
  #counted = false

  constructor(graph: OpeningGraph, node: Node, change: Change | undefined) {
    this.#graph = graph
    this.node = node
    this.#change = change
  }

  /** Links children to the node, with the permissions that it needs, and takes back their pins. Nothing stays if it fails. */
  async link(children: readonly OpenedChild[]): Promise<void> {
    if (children.length === 0) return
    this.#uncount()
    await this.#graph.within(this.#change, async () => {
      try {
        await this.#link(children)
        this.#count()
      } finally {
        for (const { node } of children) {
          node.pins--
          await this.#graph.table.closeQuietly(node, this.#change)
        }
      }
    })
  }

  /** Runs `work`, which opens more nodes or waits for the lock, without standing in the way of a drained section. */
  async suspended<T>(work: () => Promise<T>): Promise<T> {
    this.#uncount()
    try {
      return await work()
    } finally {
      if (!this.#counted && this.#change === undefined) {
        while (this.node.quiesced > 0) await this.node.line.wait()
        this.#count()
      }
    }
  }

  /** The node is open, or will not be. */
  end(): void {
    this.#uncount()
  }

  async #link(children: readonly OpenedChild[]): Promise<void> {
    const { node } = this
    for (const { node: child } of children) refuseBlocked(child, 'attach')
    const edges = children.map(({ name, role, node: child }) => new Edge(node, name, role, child))
    for (const { node: child, follows } of children) if (follows) child.inheritsFrom = node
    for (const edge of edges) {
      node.children.set(edge.name, edge)
      edge.node.parents.add(edge)
    }
    const update = new PermissionUpdate((message) => this.#graph.warn(message))
    update.touchChildren(node)
    try {
      await update.applyIn(this.#change)
    } catch (error) {
      for (const edge of edges) {
        node.children.delete(edge.name)
        edge.node.parents.delete(edge)
      }
      throw error
    }
  }

  #count(): void {
    if (this.#counted || this.#change !== undefined) return
    this.#counted = true
    this.node.opening = true
    this.node.activity.enter()
  }

  #uncount(): void {
    if (!this.#counted) return
    this.#counted = false
    this.node.opening = false
    this.node.activity.leave()
  }
}
