/** Who holds an edge: a node, or a root, which is a user of the graph from outside (a handle, an export, a job). */
import type { Edge } from './edge.ts'
import type { Node } from './node.ts'

/**
 * A user of the graph. {@link Root} is one; anything else of this shape is as good (an export that lives in a worker,
 * a class of another copy of this package).
 */
export interface GraphRoot {
  readonly isRoot: true
  readonly edge: Edge
  /** For messages: `block device 'disk0'`. */
  describe(): string
  /** Resolves when none of its requests is in flight. New ones wait while `edge.node.quiesced` is above 0. */
  idle(): Promise<void>
  /** Lets requests that waited go on. */
  resume(): void
  /** True: requests pass although the node is quiesced, and drained sections do not wait for them. */
  admitted: boolean
  /** Refuses every request from now on, those that wait included. */
  shut(): void
  /** Holds requests (true) while the root is being detached, or lets them go on (false). */
  leave(leaving: boolean): void
  /** The size may have changed, or another node stands behind the edge. */
  resized(): void
}

/** See the top of the file. */
export type Parent = Node | GraphRoot

export function isRoot(parent: Parent): parent is GraphRoot {
  return parent.isRoot
}

/** Whether `value` is a node of this copy of the package or another. */
export function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && nodeBrand in value
}

export const nodeBrand: unique symbol = Symbol.for('diskgraph.Node') as never
