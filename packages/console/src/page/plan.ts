/** Where each node of the graph is drawn: users on top, storage at the bottom. */
import dagre from '@dagrejs/dagre'
import type { GraphEdge, GraphNode } from './system.ts'

/** A node and what stands below its name. */
interface Labelled {
  readonly node: GraphNode
  readonly caption: string
}

/** A box and its middle, in pixels. */
interface Place extends Labelled {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** A line from a parent to a child, and where its name stands. */
export interface Line {
  readonly edge: GraphEdge
  readonly points: readonly { readonly x: number; readonly y: number }[]
  readonly x: number
  readonly y: number
}

/** The drawing of a graph. */
interface Plan {
  readonly width: number
  readonly height: number
  readonly places: readonly Place[]
  readonly lines: readonly Line[]
}

const height = 46
/** Widths of a letter in the two sizes of text. */
const letter = 7.6
const smallLetter = 6
const longestName = 28

/** `name` as far as it fits into a box. */
export function shortName(name: string): string {
  return name.length > longestName ? `${name.slice(0, longestName - 1)}…` : name
}

/** Lays the graph out. */
export function planOf(boxes: readonly Labelled[], edges: readonly GraphEdge[]): Plan {
  const graph = new dagre.graphlib.Graph({ multigraph: true })
  graph.setGraph({ rankdir: 'TB', nodesep: 28, ranksep: 46, marginx: 12, marginy: 12 })
  graph.setDefaultEdgeLabel(() => ({}))
  for (const { node, caption } of boxes) {
    const text = Math.max(letter * shortName(node.name).length, smallLetter * caption.length)
    graph.setNode(String(node.id), { width: Math.max(90, 26 + text), height })
  }
  for (const { parent, child, name } of edges) {
    if (!graph.hasNode(String(parent)) || !graph.hasNode(String(child))) continue
    graph.setEdge(String(parent), String(child), { width: letter * name.length, height: 14, labelpos: 'c' }, name)
  }
  dagre.layout(graph)
  const { width = 0, height: total = 0 } = graph.graph()
  const lines = edges.flatMap((edge) => {
    const line = graph.edge(String(edge.parent), String(edge.child), edge.name)
    return line === undefined ? [] : [{ edge, points: line.points, x: line.x ?? 0, y: line.y ?? 0 }]
  })
  return {
    width,
    height: total,
    places: boxes.map((box) => ({ ...box, ...(graph.node(String(box.node.id)) as Omit<Place, keyof Labelled>) })),
    lines,
  }
}
