/** The open nodes of a graph by name, and the end of those that nothing keeps. */

import { BlockError, toBlockError } from '../errors.ts'
import type { Graph } from '../graph.ts'
import type { Change } from './change.ts'
import type { GraphEdge, Node } from './node.ts'
import { PermissionUpdate } from './permissions.ts'

/** See the top of the file. What closes nodes runs in the change lock. */
export class NodeTable {
  readonly #graph: Graph
  readonly #nodes = new Map<string, Node>()
  readonly #reserved = new Set<string>()

  constructor(graph: Graph) {
    this.#graph = graph
  }

  get(name: string): Node | undefined {
    return this.#nodes.get(name)
  }

  /** In order of opening. */
  values(): IterableIterator<Node> {
    return this.#nodes.values()
  }

  /** Whether `node` itself is open here, not just one of its name. */
  has(node: Node): boolean {
    return this.#nodes.get(node.name) === node
  }

  /** Runs `open`, which opens a node called `name`, and puts the node into the table. EINVAL if there is one. */
  async reserving(name: string, open: () => Promise<Node>): Promise<Node> {
    if (this.#nodes.has(name) || this.#reserved.has(name)) {
      throw new BlockError('EINVAL', `Duplicate nodes with node-name='${name}'`)
    }
    this.#reserved.add(name)
    try {
      const node = await open()
      this.#nodes.set(name, node)
      this.#graph.tellChange({ kind: 'node-added', node: name })
      return node
    } finally {
      this.#reserved.delete(name)
    }
  }

  /** Closes a node that nothing keeps, and then its children likewise; at the end of `change` if that may yet be undone. */
  async closeIfUnused(node: Node, change?: Change): Promise<void> {
    if (change !== undefined) return change.orphan(node)
    if (node.parents.size > 0 || node.explicit || node.pins > 0 || !this.has(node)) return
    this.#nodes.delete(node.name)
    this.#graph.tellChange({ kind: 'node-removed', node: node.name })
    await this.discard(node, change)
  }

  /** Closes a node that is not in the table (any more): flush, close, let go of its children. All of it is tried. */
  async discard(node: Node, change?: Change): Promise<void> {
    let failure: unknown
    const attempt = async (work: () => Promise<void> | undefined): Promise<void> => {
      try {
        await work()
      } catch (error) {
        failure ??= error
      }
    }
    // An image that flushes its children itself decides which of their failures count.
    const tolerant = node.image.flushesChildren === true
    await node.activity.idle()
    if (!node.readOnly && node.image.write !== undefined) await attempt(() => node.flush())
    await attempt(() => node.image.close?.())
    node.detachImage()
    for (const edge of [...node.children.values()]) {
      node.children.delete(edge.name)
      const closing = this.#letGo(edge, change)
      await (tolerant ? this.tolerate(closing) : attempt(() => closing))
    }
    if (failure !== undefined) throw failure
  }

  async #letGo(edge: GraphEdge, change: Change | undefined): Promise<void> {
    const { node } = edge
    node.parents.delete(edge)
    const update = new PermissionUpdate((message) => this.#graph.warn(message))
    update.touch(node)
    try {
      await update.applyIn(change)
    } finally {
      await this.closeIfUnused(node, change)
    }
  }

  /** Waits for `closing`; a failure is no more than a warning. */
  async tolerate(closing: Promise<void>): Promise<void> {
    await closing.catch((error) =>
      this.#graph.warn(`closing a node that is no longer used failed: ${toBlockError(error).message}`),
    )
  }
}

/**
 * Closes those of `nodes` that nothing keeps. The first failure of one that is marked true comes back; others are warned
 * of. In the change lock.
 */
export async function closeUnused(
  graph: Graph,
  nodes: ReadonlyMap<Node, boolean>,
): Promise<{ readonly error: unknown } | undefined> {
  let failure: { readonly error: unknown } | undefined
  for (const [node, reported] of nodes) {
    try {
      await graph.closeIfUnused(node)
    } catch (error) {
      if (reported) failure ??= { error }
      else graph.warn(`closing a node that is no longer used failed: ${toBlockError(error).message}`)
    }
  }
  return failure
}
