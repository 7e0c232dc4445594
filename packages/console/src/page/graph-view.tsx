/** The graph as a drawing. */
import { useMemo } from 'preact/hooks'
import { type Line, planOf, shortName } from './plan.ts'
import { exportsByUser, type GraphNode, type NodeInfo, type System } from './system.ts'
import { size } from './units.ts'

interface GraphViewProps {
  readonly system: System
  readonly chosen: string | undefined
  readonly onChoose: (nodeName: string) => void
}

export function GraphView({ system, chosen, onChoose }: GraphViewProps) {
  const { graph, nodes } = system
  const exported = exportsByUser(system)
  const infos = new Map(nodes.map((node) => [node['node-name'], node]))
  const boxes = graph.nodes.map((node) => {
    const name = exported.get(node.id)
    if (name !== undefined) return { node: { ...node, name }, caption: 'export' }
    return { node: { ...node, name: node.name || 'unnamed' }, caption: captionOf(node, infos.get(node.name)) }
  })
  // A new look is a new object, most often of the same shape.
  const shape = JSON.stringify([boxes, graph.edges])
  const plan = useMemo(() => planOf(boxes, graph.edges), [shape])
  if (plan.places.length === 0) return <p class="empty">The graph is empty. Add a node with blockdev-add.</p>
  return (
    <div class="graph">
      <svg width={plan.width} height={plan.height} viewBox={`0 0 ${plan.width} ${plan.height}`} role="img">
        <title>Nodes of the graph and who uses them</title>
        {plan.lines.map((line) => (
          <EdgeLine key={`${line.edge.parent}-${line.edge.child}-${line.edge.name}`} line={line} />
        ))}
        {plan.places.map(({ node, caption, x, y, width, height }) => (
          // biome-ignore lint/a11y/useSemanticElements: there is no button in SVG
          <g
            key={node.id}
            class={`box ${node.type}${node.name === chosen ? ' chosen' : ''}`}
            transform={`translate(${x - width / 2} ${y - height / 2})`}
            role="button"
            tabIndex={0}
            aria-label={`${node.type} ${node.name}`}
            onClick={() => onChoose(node.name)}
            onKeyDown={({ key }) => key === 'Enter' && onChoose(node.name)}
          >
            <rect width={width} height={height} rx={node.type === 'block-driver' ? 5 : height / 2} />
            <text x={width / 2} y={19} class="name">
              {shortName(node.name)}
            </text>
            <text x={width / 2} y={36} class="kind">
              {caption}
            </text>
          </g>
        ))}
      </svg>
    </div>
  )
}

function captionOf({ type }: GraphNode, info: NodeInfo | undefined): string {
  if (type === 'block-backend') return 'user'
  if (type === 'block-job') return 'job'
  if (info === undefined) return ''
  const { drv, ro, image } = info
  return [drv, image === undefined ? '' : size(image['virtual-size']), ro ? 'read-only' : '']
    .filter(Boolean)
    .join(' · ')
}

function EdgeLine({ line: { edge, points, x, y } }: { readonly line: Line }) {
  const writes = edge.perm.includes('write')
  return (
    <g class={`edge${writes ? ' writes' : ''}`}>
      <polyline points={points.map((point) => `${point.x},${point.y}`).join(' ')} />
      <text x={x} y={y + 4}>
        {edge.name}
      </text>
    </g>
  )
}
