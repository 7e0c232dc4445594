/** Blockers: why an operation on a node has to wait for somebody to finish, and links that may not change meanwhile. */

import { BlockError } from '../errors.ts'

/** What can be blocked on a node. */
export type BlockedOperation =
  | 'amend'
  | 'attach'
  | 'change-child'
  | 'check'
  | 'remove'
  | 'reopen'
  | 'replace'
  | 'resize'
  | 'snapshot'

/** One reason on one node; in force until it is released. */
export interface Blocker {
  /** `block device is in use by block job: mirror`. */
  readonly reason: string
  /** Without it: every operation. */
  readonly operations?: readonly BlockedOperation[]
}

/** What {@link Change.alone} needs on top of what the root may do anyway. */
export interface AloneSettings {
  readonly operation: BlockedOperation
  /** {@link Permission} bits for as long as the work runs. */
  readonly permissions?: number
}

/** A node, as far as blockers concern it. */
interface BlockedNode {
  readonly name: string
  readonly blockers: ReadonlySet<Blocker>
  readonly filtered: FrozenEdge | undefined
  readonly backing: FrozenEdge | undefined
}

/** A link of a chain. */
interface FrozenEdge {
  readonly name: string
  readonly parentName: string
  readonly node: BlockedNode
  readonly frozen: Set<{ readonly text: string }>
}

/** Throws EBUSY with the reason when `operation` on `node` is blocked. */
export function refuseBlocked(node: BlockedNode, operation: BlockedOperation): void {
  for (const { reason, operations } of node.blockers) {
    if (operations !== undefined && !operations.includes(operation)) continue
    throw new BlockError('EBUSY', `Node '${node.name}' is busy: ${reason}`, { node: node.name })
  }
}

/** Throws EPERM when the link may not change, because a job counts on it. */
export function refuseFrozen(edge: FrozenEdge): void {
  if (edge.frozen.size === 0) return
  const [reason] = edge.frozen
  throw new BlockError(
    'EPERM',
    `Cannot change frozen '${edge.name}' link from '${edge.parentName}' to '${edge.node.name}': ${reason?.text}`,
    { node: edge.node.name },
  )
}

/** Freezes the links from `top` down to `base` (both nodes included in the chain); the result thaws them. */
export function freezeChain(top: BlockedNode, base: BlockedNode, reason: string): () => void {
  const token = { text: reason }
  const edges: FrozenEdge[] = []
  for (let node = top; node !== base; ) {
    const edge = node.filtered ?? node.backing
    if (edge === undefined) throw new BlockError('EINVAL', `node '${base.name}' is not below node '${top.name}'`)
    refuseFrozen(edge)
    edges.push(edge)
    node = edge.node
  }
  for (const edge of edges) edge.frozen.add(token)
  return () => {
    for (const edge of edges) edge.frozen.delete(token)
  }
}
