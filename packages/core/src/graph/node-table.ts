/** The open nodes of a graph by name, and the end of those that nothing keeps. */

import { BlockError, toBlockError } from '../errors.ts'
import { type GraphEdge, isNode, type Node } from './node.ts'
import { PermissionUpdate } from './permissions.ts'

/** What {@link Graph.onChange} tells, after it has happened. */
export interface GraphChange {
  readonly kind:
    | 'node-added'
    | 'node-removed'
    | 'root-attached'
    | 'root-detached'
    /** The child `child` of `node` was added, swapped or removed; for a root: `node` is what it uses now. */
    | 'child-changed'
    | 'reopened'
  readonly node: string
  readonly child?: string
}

/** A change under way, as far as the end of nodes concerns it. */
export interface ChangeUnderWay {
  /** @internal Nodes that have more permissions than they need, because a step of the change must not give up any. */
  readonly kept: Set<Node>
  /** @internal Closes `node` at the end of the change, if nobody uses it then. */
  orphan(node: Node): void
}

/** Who hears of what happens to nodes. */
export interface NodeReport {
  /** @internal */
  tellChange(change: GraphChange): void
  warn(message: string): void
}

/** See the top of the file. What closes nodes runs in the change lock. */
export class NodeTable {
  readonly #report: NodeReport
  readonly #nodes = new Map<string, Node>()
  readonly #reserved = new Set<string>()
  readonly #devices = new Set<string>()

  constructor(report: NodeReport) {
    this.#report = report
  }

  get(name: string): Node | undefined {
    return this.#nodes.get(name)
  }

  /** The node itself or the one of that name, which must be open here. ENODEV if it is not. */
  require(node: Node | string): Node {
    if (isNode(node) && node.isEmpty && node.name === '') return node
    const found = isNode(node) ? node : this.#nodes.get(node)
    if (found === undefined || !this.has(found)) {
      const name = isNode(node) ? node.name : String(node)
      throw new BlockError('ENODEV', `Cannot find device='${name}' nor node-name='${name}'`)
    }
    return found
  }

  /** In order of opening. */
  values(): IterableIterator<Node> {
    return this.#nodes.values()
  }

  /** Whether `node` itself is open here, not just one of its name. */
  has(node: Node): boolean {
    return this.#nodes.get(node.name) === node
  }

  /** Takes `name` for a device, so that no node gets it, until the result is called. EINVAL if it is taken. */
  claim(name: string): () => void {
    if (this.#devices.has(name)) throw new BlockError('EINVAL', `Device with id '${name}' already exists`)
    if (this.#nodes.has(name) || this.#reserved.has(name)) {
      throw new BlockError('EINVAL', `Device name '${name}' conflicts with an existing node name`)
    }
    this.#devices.add(name)
    return () => this.#devices.delete(name)
  }

  /** Runs `open`, which opens a node called `name`, and puts the node into the table. EINVAL if there is one. */
  async reserving(name: string, open: () => Promise<Node>): Promise<Node> {
    if (this.#devices.has(name)) {
      throw new BlockError('EINVAL', `node-name=${name} is conflicting with a device id`)
    }
    if (this.#nodes.has(name) || this.#reserved.has(name)) {
      throw new BlockError('EINVAL', `Duplicate nodes with node-name='${name}'`)
    }
    this.#reserved.add(name)
    try {
      const node = await open()
      this.#nodes.set(name, node)
      this.#report.tellChange({ kind: 'node-added', node: name })
      return node
    } finally {
      this.#reserved.delete(name)
    }
  }

  /** Closes a node that nothing keeps, and then its children likewise; at the end of `change` if that may yet be undone. */
  async closeIfUnused(node: Node, change?: ChangeUnderWay): Promise<void> {
    if (change !== undefined) return change.orphan(node)
    if (node.parents.size > 0 || node.explicit || node.pins > 0 || !this.has(node)) return
    this.#nodes.delete(node.name)
    this.#report.tellChange({ kind: 'node-removed', node: node.name })
    await this.discard(node, change)
  }

  /** Closes a node that is not in the table (any more): flush, close, let go of its children. All of it is tried. */
  async discard(node: Node, change?: ChangeUnderWay): Promise<void> {
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
      await (tolerant ? this.#tolerate(closing) : attempt(() => closing))
    }
    if (failure !== undefined) throw failure
  }

  async #letGo(edge: GraphEdge, change: ChangeUnderWay | undefined): Promise<void> {
    const { node } = edge
    node.parents.delete(edge)
    const update = new PermissionUpdate((message) => this.#report.warn(message))
    update.touch(node)
    try {
      await update.applyIn(change)
    } finally {
      await this.closeIfUnused(node, change)
    }
  }

  /** As {@link closeIfUnused}, where there is another error to report, or none to be made of this one. */
  closeQuietly(node: Node, change?: ChangeUnderWay): Promise<void> {
    return this.#tolerate(this.closeIfUnused(node, change))
  }

  /** Closes those of `nodes` that nothing keeps. The first failure of one that is marked true comes back; others are warned of. */
  async closeUnused(nodes: ReadonlyMap<Node, boolean>): Promise<{ readonly error: unknown } | undefined> {
    let failure: { readonly error: unknown } | undefined
    for (const [node, reported] of nodes) {
      if (!reported) await this.closeQuietly(node)
      else {
        await this.closeIfUnused(node).catch((error) => {
          failure ??= { error }
        })
      }
    }
    return failure
  }

  /** Waits for `closing`; a failure is no more than a warning. */
  async #tolerate(closing: Promise<void>): Promise<void> {
    await closing.catch((error) =>
      this.#report.warn(`closing a node that is no longer used failed: ${toBlockError(error).message}`),
    )
  }
}
