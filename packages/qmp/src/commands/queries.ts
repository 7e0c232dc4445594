/** What there is: nodes, and the edges between them. */
import { type Graph, type GraphEdge, type GraphRoot, type Node, Permission } from '@diskgraph/core'
import { shownFilename } from '@diskgraph/core/internal'
import { imageInfo, infoMembers, type ReturnOf, type TypeOf } from '@diskgraph/qapi'
import type { System } from '../system.ts'
import type { Handlers } from './handlers.ts'
import { writeThreshold } from './thresholds.ts'

/** `query-named-block-nodes`, `x-debug-query-block-graph`. */
export function queryCommands(system: System): Handlers {
  const { graph } = system
  return {
    // The youngest first, as QEMU has them.
    'query-named-block-nodes': ({ flat }) =>
      settled(graph, () =>
        Promise.all(
          nodesOf(graph)
            .reverse()
            .map((node) => nodeInfo(node, flat === true)),
        ),
      ),
    'x-debug-query-block-graph': () => describeGraph(system),
  }
}

/**
 * What `look` finds. Others change the graph meanwhile, and what is being closed cannot be asked: then it looks again,
 * while nobody can.
 */
export function settled<T>(graph: Graph, look: () => Promise<T>): Promise<T> {
  return look().catch(() => graph.change(look))
}

/** The nodes in the order in which QEMU would have opened them: an image comes before its backing file. */
function nodesOf({ nodes }: Graph): Node[] {
  const places = new Map([...nodes].map((node, place) => [node, place]))
  const openers = new Map([...places.keys()].map((node) => [node, openerOf(node, places)]))
  const result = new Set<Node>()
  const add = (node: Node): void => {
    const own = [...node.children.values()].filter((edge) => openers.get(edge.node) === node)
    for (const edge of own) if (edge.role !== 'cow') add(edge.node)
    result.add(node)
    for (const edge of own) if (edge.role === 'cow') add(edge.node)
  }
  for (const [node, opener] of openers) if (opener === undefined) add(node)
  return [...result]
}

/** The parent that `node` was opened with, or the first of those that have it since that one has gone. */
function openerOf({ inheritsFrom, parents }: Node, places: ReadonlyMap<Node, number>): Node | undefined {
  if (inheritsFrom === undefined) return undefined
  const above = [...parents].flatMap(({ parent }) => (parent.isRoot ? [] : [parent]))
  if (above.includes(inheritsFrom)) return inheritsFrom
  if (places.has(inheritsFrom)) return undefined
  const placeOf = (node: Node): number => places.get(node) ?? Number.POSITIVE_INFINITY
  return above.sort((one, other) => placeOf(one) - placeOf(other))[0]
}

/** What is to be said of a node: QAPI's BlockDeviceInfo. With `flat` its backing images are left out. */
export async function nodeInfo(node: Node, flat: boolean): Promise<TypeOf<'BlockDeviceInfo'>> {
  const [image, file] = await Promise.all([imageMembers(node, flat), shownFilename(node)])
  const below = node.backing?.node.shown
  const backing = below === undefined ? image['backing-filename'] : below.filename
  return {
    iops_rd: 0,
    detect_zeroes: node.detectZeroes,
    image,
    iops_wr: 0,
    ro: node.readOnly,
    'node-name': node.name,
    ...(backing === undefined ? {} : { backing_file: backing }),
    backing_file_depth: flat ? 0 : depthOf(node),
    drv: node.driver.name,
    iops: 0,
    bps_wr: 0,
    write_threshold: writeThreshold(node),
    ...bitmapsMember(node),
    encrypted: image.encrypted === true,
    bps: 0,
    bps_rd: 0,
    cache: { 'no-flush': node.cache.noFlush, direct: node.cache.direct, writeback: true },
    file,
  }
}

function bitmapsMember(node: Node): { readonly 'dirty-bitmaps'?: readonly TypeOf<'BlockDirtyInfo'>[] } {
  // The youngest first, as QEMU has them.
  const bitmaps = [...node.dirtyBitmaps].reverse()
  if (bitmaps.length === 0) return {}
  return {
    'dirty-bitmaps': bitmaps.map(({ name, enabled, busy, granularity, dirtyBytes, persistent, inconsistent }) => ({
      ...(name === undefined ? {} : { name }),
      recording: enabled,
      persistent,
      ...(inconsistent ? { inconsistent } : {}),
      busy,
      granularity,
      count: dirtyBytes,
    })),
  }
}

async function imageMembers(node: Node, flat: boolean): Promise<TypeOf<'ImageInfo'>> {
  const info = await imageInfo(node)
  // Sizes are told in whole sectors.
  const virtualSize = Math.ceil(info.virtualSize / 512) * 512
  const filename = await shownFilename(node)
  const members = infoMembers({ ...info, filename, virtualSize }) as unknown as TypeOf<'ImageInfo'>
  const below = (node.backing ?? node.filtered)?.node.shown
  if (flat || below === undefined) return members
  return { ...members, 'backing-image': await imageMembers(below, false) }
}

/** How many images and filters are below along the chain. */
function depthOf({ backing, filtered }: Node): number {
  const below = (backing ?? filtered)?.node.shown
  return below === undefined ? 0 : 1 + depthOf(below)
}

/** In QEMU's order: what is known last stands first, and numbers are given where something is first spoken of. */
function describeGraph({ graph, devices }: System): ReturnOf<'x-debug-query-block-graph'> {
  const ids = new Map<Node | GraphRoot, number>()
  const idOf = (one: Node | GraphRoot): number => {
    const id = ids.get(one) ?? ids.size + 1
    ids.set(one, id)
    return id
  }
  const names = new Map([...(devices ?? [])].map((device) => [device.medium as GraphRoot | undefined, device.id]))
  const nodes: TypeOf<'XDbgBlockGraphNode'>[] = []
  const edges: TypeOf<'XDbgBlockGraphEdge'>[] = []
  const addEdge = (edge: GraphEdge): void => {
    const perm = permissionNames(edge.permissions)
    const shared = permissionNames(edge.shared)
    edges.push({ parent: idOf(edge.parent), child: idOf(edge.node), name: edge.name, perm, 'shared-perm': shared })
  }
  for (const root of graph.roots) {
    nodes.push({ id: idOf(root), type: 'block-backend', name: names.get(root) ?? '' })
    addEdge(root.edge)
  }
  for (const node of nodesOf(graph)) {
    nodes.push({ id: idOf(node), type: 'block-driver', name: node.name })
    for (const edge of [...node.children.values()].reverse()) addEdge(edge)
  }
  return { nodes: nodes.reverse(), edges: edges.reverse() }
}

const permissions = [
  ['resize', Permission.Resize],
  ['write-unchanged', Permission.WriteUnchanged],
  ['write', Permission.Write],
  ['consistent-read', Permission.ConsistentRead],
] as const

function permissionNames(bits: number): TypeOf<'BlockPermission'>[] {
  return permissions.filter(([, bit]) => (bits & bit) !== 0).map(([name]) => name)
}
