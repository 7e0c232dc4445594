/**
 * Permissions of edges, as QEMU has them: every parent says what it does with a child and what it lets others do.
 *
 * A change (a new edge, a swapped node, a reopened parent) starts at some edges and spreads downwards: the union of
 * what a node's parents need decides what the node needs of its children. The new values are computed into a plan,
 * checked, prepared by the drivers that hold something outside (file locks), and then committed all together; on
 * any failure everything is as it was. Nodes whose union does not change end the spreading, so attaching a node at
 * the top of a long chain costs only what really changes.
 */

import { isAligned } from '../bytes.ts'
import { type ChildRole, Permission, type Prepared } from '../contract/contract.ts'
import { BlockError, toBlockError } from '../errors.ts'
import type { GraphEdge, Node } from './node.ts'
import { endPrepared } from './prepared.ts'

/** What a parent needs and shares, as {@link Permission} bits. */
export interface EdgePermissions {
  readonly permissions: number
  readonly shared: number
}

const { ConsistentRead, Write, WriteUnchanged, Resize, All, BackingChange } = Permission

/** QEMU's words for the bits. */
const permissionNames: readonly (readonly [number, string])[] = [
  [ConsistentRead, 'consistent read'],
  [Write, 'write'],
  [WriteUnchanged, 'write unchanged'],
  [Resize, 'resize'],
]

/** The names of the bits in `permissions`, comma-separated. */
export function describePermissions(permissions: number): string {
  const names = permissionNames.filter(([bit]) => (permissions & bit) !== 0)
  return names.map(([, name]) => name).join(', ')
}

/** Throws EINVAL for what is no set of {@link Permission} bits. */
export function checkPermissions(value: EdgePermissions): void {
  for (const [bits, most] of [[value?.permissions, All] as const, [value?.shared, All | BackingChange] as const]) {
    if (Number.isInteger(bits) && bits >= 0 && bits <= most) continue
    throw new BlockError('EINVAL', `there are no such permissions: ${String(bits)}`)
  }
}

/** What a node with `own` permissions needs of a child in `role`. */
export function permissionsForRole(role: ChildRole, own: EdgePermissions, writable: boolean): EdgePermissions {
  switch (role) {
    case 'filtered':
    case 'data':
      return own
    case 'replica':
      return { permissions: own.permissions, shared: own.shared & (ConsistentRead | WriteUnchanged) }
    case 'cow':
      return {
        permissions: own.permissions & ConsistentRead,
        shared: sharedOfBacking(own),
      }
    case 'storage':
    case 'metadata':
      return {
        permissions: ConsistentRead | (writable ? Write | Resize : 0),
        shared: ConsistentRead | WriteUnchanged,
      }
  }
}

/** Nobody sees a change below an image that nobody uses; others may have said that they do not mind. */
function sharedOfBacking({ permissions, shared }: EdgePermissions): number {
  if (permissions === 0) return All
  return (shared & BackingChange) === 0 ? ConsistentRead | WriteUnchanged : All | BackingChange
}

/** A set of changes under way: new values of edges and nodes, applied together or not at all. Runs in the change lock. */
export class PermissionUpdate {
  readonly #edges = new Map<GraphEdge, EdgePermissions>()
  readonly #nodes = new Map<Node, EdgePermissions>()
  readonly #queue: Node[] = []
  readonly #warn: (message: string) => void

  constructor(warn: (message: string) => void) {
    this.#warn = warn
  }

  /** Sets what an edge needs; its node is looked at in {@link prepare}. */
  setEdge(edge: GraphEdge, value: EdgePermissions): void {
    this.#edges.set(edge, value)
    this.#queue.push(edge.node)
  }

  /** What an edge will need when this is committed. */
  edge(edge: GraphEdge): EdgePermissions {
    return this.#edges.get(edge) ?? edge
  }

  /** Looks at a node again, because its parents changed. */
  touch(node: Node): void {
    this.#queue.push(node)
  }

  /** Looks again at what `node` needs of its children, because its mode or its children changed. */
  touchChildren(node: Node): void {
    for (const edge of node.children.values()) this.setEdge(edge, this.#childPermissions(node, edge))
  }

  /**
   * Computes what the graph as it is linked now needs, checks it, and lets the images make ready. Throws EPERM with
   * both users named; then nothing has changed.
   */
  async prepare(): Promise<Prepared> {
    this.#compute()
    return this.#prepareImages()
  }

  #compute(): void {
    for (let node = this.#queue.shift(); node !== undefined; node = this.#queue.shift()) this.#spread(node)
    for (const node of this.#nodes.keys()) checkConflicts(node, this.#edges)
  }

  async #prepareImages(): Promise<Prepared> {
    const prepared: Prepared[] = []
    try {
      for (const [node, value] of this.#nodes) {
        const one = await prepareImage(node, value)
        if (one !== undefined) prepared.push(one)
      }
    } catch (error) {
      endPrepared(prepared, 'abort', this.#warn)
      throw error
    }
    return {
      commit: () => this.#commit(prepared),
      abort: () => endPrepared(prepared, 'abort', this.#warn),
    }
  }

  /** Prepares and commits. */
  async apply(): Promise<void> {
    const prepared = await this.prepare()
    prepared.commit()
  }

  /**
   * As {@link apply}, for a step of a change that may yet be undone: nothing is given up. Nodes and edges keep what they
   * have on top of what they need, until the change has ended one way or the other.
   */
  async applyIn(change: { readonly kept: Set<Node> } | undefined): Promise<void> {
    if (change === undefined) return this.apply()
    this.#compute()
    for (const [edge, value] of this.#edges) this.#edges.set(edge, both(value, edge))
    for (const [node, value] of this.#nodes) this.#nodes.set(node, both(value, node))
    const prepared = await this.#prepareImages()
    prepared.commit()
    for (const node of this.#nodes.keys()) change.kept.add(node)
  }

  /** Looks at `nodes` again, and at what they need of their children. */
  review(nodes: Iterable<Node>): void {
    for (const node of nodes) {
      this.touch(node)
      this.touchChildren(node)
    }
  }

  #spread(node: Node): void {
    const next = this.#union(node)
    const current = this.#nodes.get(node) ?? { permissions: node.permissions, shared: node.shared }
    if (next.permissions === current.permissions && next.shared === current.shared) {
      // A node is checked even when its union stays, for a new parent may conflict with an old one.
      if (!this.#nodes.has(node)) this.#nodes.set(node, next)
      return
    }
    this.#nodes.set(node, next)
    for (const edge of node.children.values()) {
      const value = this.#childPermissions(node, edge)
      const known = this.#edges.get(edge) ?? edge
      if (value.permissions !== known.permissions || value.shared !== known.shared) this.setEdge(edge, value)
    }
  }

  #union(node: Node): EdgePermissions {
    let permissions = 0
    let shared: number = node.parents.size === 0 ? All : All | BackingChange
    for (const edge of node.parents) {
      const value = this.#edges.get(edge) ?? edge
      permissions |= value.permissions
      shared &= value.shared
    }
    return { permissions, shared }
  }

  #childPermissions(node: Node, edge: GraphEdge): EdgePermissions {
    const own = this.#nodes.get(node) ?? { permissions: node.permissions, shared: node.shared }
    const custom = node.driver.childPermissions?.(
      { name: edge.name, role: edge.role, options: node.options, readOnly: node.readOnly },
      own.permissions,
      own.shared,
    )
    const value = custom ?? permissionsForRole(edge.role, own, !node.readOnly)
    return node.forceShare ? { permissions: value.permissions, shared: All } : value
  }

  #commit(prepared: readonly Prepared[]): void {
    for (const [edge, value] of this.#edges) {
      edge.permissions = value.permissions
      edge.shared = value.shared
    }
    for (const [node, value] of this.#nodes) {
      node.permissions = value.permissions
      node.shared = value.shared
    }
    endPrepared(prepared, 'commit', this.#warn)
  }
}

/** What is needed by `next` and held by `now`. */
function both(next: EdgePermissions, now: EdgePermissions): EdgePermissions {
  return { permissions: next.permissions | now.permissions, shared: next.shared & now.shared }
}

/** An image that cannot give something back holds more than it needs, which is no reason for a change to fail. */
async function prepareImage(node: Node, { permissions, shared }: EdgePermissions): Promise<Prepared | undefined> {
  try {
    return await node.image.permissions?.prepare(permissions, shared)
  } catch (error) {
    if ((permissions & ~node.permissions) !== 0 || (node.shared & ~shared) !== 0) throw error
    node.warn(`${node.describe()} cannot give back permissions: ${toBlockError(error).message}`)
    return undefined
  }
}

function checkConflicts(node: Node, plan: ReadonlyMap<GraphEdge, EdgePermissions>): void {
  const edges = [...node.parents]
  for (const user of edges) {
    const needs = plan.get(user) ?? user
    if (node.readOnly && (needs.permissions & (Write | WriteUnchanged | Resize)) !== 0) {
      throw new BlockError('EPERM', 'Block node is read-only', { node: node.name })
    }
    const writes = (needs.permissions & (Write | WriteUnchanged)) !== 0
    if (writes && (needs.permissions & Resize) === 0 && !isAligned(node.size, node.limits.alignment)) {
      throw new BlockError(
        'EPERM',
        "Cannot get 'write' permission without 'resize': Image size is not a multiple of request alignment",
        { node: node.name },
      )
    }
    for (const other of edges) {
      if (other === user) continue
      const lacking = needs.permissions & ~(plan.get(other) ?? other).shared
      if (lacking === 0) continue
      throw new BlockError(
        'EPERM',
        `Permission conflict on node '${node.name}': permissions '${describePermissions(lacking)}' are both required ` +
          `by ${user.describe()} and unshared by ${other.describe()}.`,
        { node: node.name },
      )
    }
  }
}
