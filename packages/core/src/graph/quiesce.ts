/**
 * Drained sections: no request is in flight in a part of the graph while something changes it.
 *
 * A section holds nodes, not roots: a root asks its node before each request, so one that is attached or moved here
 * while the section runs is held like the others. From the nodes that are asked for it spreads to every node above
 * them, for a request reaches a node from any root above. Work that nodes do by themselves is waited for as well.
 */

import { done } from '../contract/contract.ts'
import { BlockError, toBlockError } from '../errors.ts'
import type { GraphEdge, Node } from './node.ts'
import { type GraphRoot, isRoot } from './node.ts'

/** The section of one change. It grows while the change goes on, and ends with it. */
export class Quiesce {
  readonly #seeds = new Set<Node>()
  readonly #held = new Set<Node>()
  readonly #hooked = new Set<Node>()
  readonly #admitted = new Set<GraphRoot>()
  /** Images that are being told of the section now. */
  #telling: Promise<unknown> = done
  #ended = false

  /** Holds `nodes` and all above; resolves when no request is in flight there. Not once the section has ended. */
  async hold(nodes: Iterable<Node>): Promise<void> {
    for (const node of nodes) this.#seeds.add(node)
    const telling = this.#tell(this.extend())
    this.#telling = Promise.allSettled([this.#telling, telling])
    await telling
    // Another call may have come first: everything that is held is waited for, not only what is new.
    await this.#telling
    await Promise.all([...this.#held].flatMap(waits))
  }

  /** Lets images at and below `node` let go of what they keep back, without holding anything. */
  relax(node: Node): Promise<void> {
    return this.#tell([node])
  }

  /** Tells the images of `fresh` nodes, and of all below, that the section begins. */
  async #tell(fresh: readonly Node[]): Promise<void> {
    for (const node of withDescendants(fresh)) {
      if (this.#ended || node.image.drainBegin === undefined || this.#hooked.has(node)) continue
      this.#hooked.add(node)
      await node.image.drainBegin()
    }
  }

  /** Lets a root's requests through: the change itself makes them. */
  admit(root: GraphRoot): void {
    if (this.#ended) return
    this.#admitted.add(root)
    root.admitted = true
    root.resume()
  }

  /** Holds nodes that have come to stand above held ones; returns them. */
  extend(): Node[] {
    const fresh: Node[] = []
    const queue = [...this.#seeds, ...this.#held]
    const seen = new Set<Node>()
    for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
      if (seen.has(node)) continue
      seen.add(node)
      if (!this.#held.has(node)) {
        this.#held.add(node)
        node.quiesced++
        fresh.push(node)
      }
      for (const { parent } of node.parents) if (!isRoot(parent)) queue.push(parent)
    }
    return fresh
  }

  /** Ends the section: everything that waited goes on. */
  end(): void {
    this.#ended = true
    for (const root of this.#admitted) root.admitted = false
    for (const node of this.#held) node.quiesced--
    for (const node of this.#hooked) attempt(node, () => node.image.drainEnd?.())
    for (const node of this.#held) {
      if (node.quiesced > 0) continue
      node.line.wake()
      for (const { parent } of node.parents) if (isRoot(parent)) attempt(node, () => parent.resume())
    }
    for (const set of [this.#seeds, this.#held, this.#hooked, this.#admitted]) set.clear()
  }
}

/** Runs `step`; what it throws must not keep the others waiting. */
function attempt(node: Node, step: () => void): void {
  try {
    step()
  } catch (error) {
    node.warn(`the end of a drained section failed: ${toBlockError(error).message}`)
  }
}

function waits(node: Node): Promise<void>[] {
  const waiting = [node.activity.idle()]
  for (const { parent } of node.parents) if (isRoot(parent) && !parent.admitted) waiting.push(parent.idle())
  return waiting
}

/** `nodes` and everything below them. */
function withDescendants(nodes: Iterable<Node>): Set<Node> {
  const found = new Set<Node>(nodes)
  for (const node of found) for (const edge of node.children.values()) found.add(edge.node)
  return found
}

/** Throws EINVAL when `node` is above the parent of `edge`, which shall lead to it. */
export function refuseLoop(edge: GraphEdge, node: Node): void {
  if (startsBelow(edge, node)) throw new BlockError('EINVAL', `node '${node.name}' is above ${edge.parent.describe()}`)
}

/** Whether `edge` starts in the subgraph of `node` (the node itself included). */
export function startsBelow(edge: GraphEdge, node: Node): boolean {
  const { parent } = edge
  return !isRoot(parent) && withDescendants([node]).has(parent)
}
