/** Drained sections: no request is in flight in a part of the graph while something changes it. */
import type { Edge } from './edge.ts'
import type { Node } from './node.ts'
import { Root } from './root.ts'

/** Runs `work` while every root above `nodes` is paused and idle. Nests. */
export async function drained<T>(nodes: Iterable<Node>, work: () => Promise<T>): Promise<T> {
  const roots = rootsAbove(nodes)
  const pauses = [...roots].map((root) => root.pause())
  try {
    await Promise.all(pauses)
    return await work()
  } finally {
    for (const root of roots) root.resume()
  }
}

/** The roots from which requests can reach one of `nodes`. */
export function rootsAbove(nodes: Iterable<Node>): Set<Root> {
  const roots = new Set<Root>()
  const seen = new Set<Node>()
  const queue = [...nodes]
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    if (seen.has(node)) continue
    seen.add(node)
    for (const edge of node.parents) addParent(edge, roots, queue)
  }
  return roots
}

function addParent(edge: Edge, roots: Set<Root>, queue: Node[]): void {
  if (edge.parent instanceof Root) roots.add(edge.parent)
  else queue.push(edge.parent)
}
