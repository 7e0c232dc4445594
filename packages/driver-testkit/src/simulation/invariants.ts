/** What holds in every graph between two changes. */
import type { Graph, GraphEdge, Node } from '@diskgraph/core'
import { Permission } from '@diskgraph/core/driver'

/** Throws when links, permissions or counts of `graph` contradict each other. Call it while no change is under way. */
export function checkInvariants(graph: Graph): void {
  const nodes = new Set(graph.nodes)
  for (const node of nodes) {
    for (const [name, edge] of node.children) {
      must(edge.name === name && edge.parent === node, `the edge '${name}' of '${node.name}' is somebody else's`)
      must(nodes.has(edge.node), `'${node.name}' uses '${edge.node.name}', which is closed`)
      must(edge.node.parents.has(edge), `'${edge.node.name}' does not know its parent '${node.name}'`)
    }
    for (const edge of node.parents) checkParent(graph, nodes, node, edge)
    checkPermissions(node)
    must(node.quiesced === 0, `'${node.name}' is still held`)
    must(node.parents.size > 0 || node.explicit || node.pins > 0, `'${node.name}' is kept by nobody`)
  }
  for (const root of graph.roots) must(root.edge.node.parents.has(root.edge), `${root.describe()} is not linked`)
}

function checkParent(graph: Graph, nodes: ReadonlySet<Node>, node: Node, edge: GraphEdge): void {
  must(edge.node === node, `'${node.name}' has a parent that uses '${edge.node.name}'`)
  const { parent } = edge
  if (parent.isRoot) must([...graph.roots].includes(parent), `'${node.name}' is used by a root that is gone`)
  else must(nodes.has(parent) || parent.pins > 0, `'${node.name}' is used by '${parent.name}', which is closed`)
}

function checkPermissions(node: Node): void {
  let used = 0
  let shared: number = node.parents.size === 0 ? Permission.All : Permission.All | Permission.BackingChange
  for (const edge of node.parents) {
    used |= edge.permissions
    shared &= edge.shared
    for (const other of node.parents) {
      if (other !== edge) must((edge.permissions & ~other.shared) === 0, `users of '${node.name}' conflict`)
    }
  }
  must(used === node.permissions, `'${node.name}' has permissions ${node.permissions}, its users ${used}`)
  must(shared === node.shared, `'${node.name}' shares ${node.shared}, its users ${shared}`)
}

function must(condition: boolean, message: string): void {
  if (!condition) throw new Error(`broken invariant: ${message}`)
}
