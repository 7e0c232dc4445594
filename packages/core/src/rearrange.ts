/** Changes of the shape of a graph while it is in use: every one drained, checked and committed as a whole. */
import { drained } from './drain.ts'
import { Edge } from './edge.ts'
import { BlockError, toBlockError } from './errors.ts'
import type { Graph } from './graph.ts'
import type { Node } from './node.ts'
import { PermissionUpdate } from './permissions.ts'

/** Lets parents of `from` use `to`. Edges inside `to`'s own subgraph stay: a filter may replace its child, no loop can close. */
export async function replaceNode(
  graph: Graph,
  from: Node,
  to: Node,
  which: (edge: Edge) => boolean = () => true,
): Promise<void> {
  await drained([from, to], async () => {
    const edges = [...from.parents].filter((edge) => !isBelow(edge, to) && which(edge))
    await moveEdges(edges, to)
  })
  await letGo(graph, graph.closeIfUnused(from))
}

async function moveEdges(edges: readonly Edge[], to: Node): Promise<void> {
  const old = edges.map((edge) => edge.node)
  const place = (edge: Edge, node: Node): void => {
    edge.node.parents.delete(edge)
    edge.node = node
    node.parents.add(edge)
  }
  for (const edge of edges) place(edge, to)
  try {
    const update = new PermissionUpdate()
    for (const node of old) update.touch(node)
    for (const edge of edges) update.setEdge(edge, { permissions: edge.permissions, shared: edge.shared })
    await update.apply()
  } catch (error) {
    for (const [i, edge] of edges.entries()) place(edge, old[i] as Node)
    throw error
  }
}

/** Whether `edge` starts in the subgraph of `node` (the node itself included). */
function isBelow(edge: Edge, node: Node): boolean {
  return edge.parent === node || [...node.children.values()].some((child) => isBelow(edge, child.node))
}

/** Puts a new filter between `node` and its parents. */
export async function insertFilter(
  graph: Graph,
  node: Node,
  filter: Readonly<Record<string, unknown>>,
  childOption: string,
): Promise<Node> {
  return drained([node], async () => {
    const above = await graph.openDefinition({
      readOnly: node.readOnly,
      discard: 'unmap',
      ...filter,
      [childOption]: node,
    })
    try {
      await replaceNode(graph, node, above)
      return above
    } catch (error) {
      await graph.closeIfUnused(above)
      throw error
    }
  })
}

/** Takes a filter out again. */
export async function removeFilter(graph: Graph, filter: Node): Promise<void> {
  const child = filter.filtered
  if (child === undefined) {
    throw new BlockError('EINVAL', `node '${filter.name}' is not a filter: it has no filtered child`)
  }
  filter.explicit = false
  await replaceNode(graph, filter, child.node)
}

/** Adds, swaps or removes a child. A list child is named `children.3`. */
export async function setChild(graph: Graph, parent: Node, name: string, child: Node | undefined): Promise<void> {
  const list = name.replace(/\.\d+$/, '')
  const schema = parent.driver.options[list]
  if (schema?.type !== 'child' && schema?.type !== 'children') {
    throw new BlockError('EINVAL', `driver '${parent.driver.name}' has no child '${name}'`)
  }
  const old = parent.children.get(name)
  await drained([parent], async () => {
    parent.image.checkChild?.(name, child)
    if (child === undefined) await letGo(graph, graph.detachChild(parent, name))
    else if (old !== undefined) await moveEdges([old], child)
    else await attach(graph, parent, new Edge(parent, name, schema.role, child))
    parent.image.childrenChanged?.(list)
  })
  if (old !== undefined && child !== undefined) await letGo(graph, graph.closeIfUnused(old.node))
}

/** Adds a child at the end of the list `list`; returns its name, `children.3`. */
export async function addChild(graph: Graph, parent: Node, list: string, child: Node): Promise<string> {
  const prefix = `${list}.`
  const indexes = [...parent.children.keys()].filter((name) => name.startsWith(prefix))
  const next = Math.max(-1, ...indexes.map((name) => Number(name.slice(prefix.length)))) + 1
  await setChild(graph, parent, prefix + next, child)
  return prefix + next
}

async function attach(graph: Graph, parent: Node, edge: Edge): Promise<void> {
  if (isBelow(edge, edge.node))
    throw new BlockError('EINVAL', `node '${edge.node.name}' is above node '${parent.name}'`)
  parent.children.set(edge.name, edge)
  edge.node.parents.add(edge)
  const update = new PermissionUpdate()
  update.touchChildren(parent)
  try {
    await update.apply()
  } catch (error) {
    await graph.detachChild(parent, edge.name)
    throw error
  }
}

/** Waits for the closing of nodes whose failure ends nothing: it is told as a warning. */
export async function letGo(graph: Graph, closing: Promise<void>): Promise<void> {
  await closing.catch((error) =>
    graph.warn(`closing a node that is no longer used failed: ${toBlockError(error).message}`),
  )
}
