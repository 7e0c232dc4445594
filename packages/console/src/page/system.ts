/** What the page knows of the block layer, in the shapes that QMP gives, and how it asks for it. */
import type { Connection, Json } from './connection.ts'

/** A row of `x-debug-query-block-graph`. */
export interface GraphNode {
  readonly id: number
  readonly type: 'block-driver' | 'block-backend' | 'block-job'
  readonly name: string
}

/** An edge of `x-debug-query-block-graph`; `perm` is what the parent does with the child. */
export interface GraphEdge {
  readonly parent: number
  readonly child: number
  readonly name: string
  readonly perm: readonly string[]
}

/** A row of `query-named-block-nodes`. */
export interface NodeInfo {
  readonly 'node-name': string
  readonly drv: string
  readonly ro: boolean
  readonly file: string
  readonly image?: { readonly 'virtual-size': number; readonly 'actual-size'?: number }
}

/** A row of `query-jobs` with what `query-block-jobs` adds. */
export interface JobInfo {
  readonly id: string
  readonly type: string
  readonly status: string
  readonly 'current-progress': number
  readonly 'total-progress': number
  readonly error?: string
  readonly speed?: number
}

/** A row of `query-block-exports`. */
interface ExportInfo {
  readonly id: string
  readonly type: string
  readonly 'node-name': string
  readonly 'shutting-down': boolean
}

/** A row of `query-blockstats`. */
export interface StatsInfo {
  readonly device?: string
  readonly qdev?: string
  readonly 'node-name'?: string
  readonly stats: Readonly<Record<string, number>>
}

/** One look at everything. A part is empty where the monitor does not know its command. */
export interface System {
  readonly status: string
  readonly graph: { readonly nodes: readonly GraphNode[]; readonly edges: readonly GraphEdge[] }
  readonly nodes: readonly NodeInfo[]
  readonly jobs: readonly JobInfo[]
  readonly exports: readonly ExportInfo[]
  /** By node. */
  readonly stats: readonly StatsInfo[]
  readonly deviceStats: readonly StatsInfo[]
}

/** Asks for everything at once. */
export async function querySystem(connection: Connection): Promise<System> {
  const ask = async <T extends Json>(otherwise: T, command: string, args?: Record<string, Json>): Promise<T> => {
    try {
      return (await connection.execute(command, args)) as T
    } catch {
      return otherwise
    }
  }
  const [status, graph, nodes, jobs, blockJobs, exports, devices, byNode] = await Promise.all([
    ask({ status: '' }, 'query-status'),
    ask({ nodes: [], edges: [] }, 'x-debug-query-block-graph'),
    ask([], 'query-named-block-nodes', { flat: true }),
    ask([], 'query-jobs'),
    ask([], 'query-block-jobs'),
    ask([], 'query-block-exports'),
    ask([], 'query-blockstats'),
    ask([], 'query-blockstats', { 'query-nodes': true }),
  ])
  const speeds = new Map(
    (blockJobs as unknown as { device: string; speed: number }[]).map((job) => [job.device, job.speed]),
  )
  return {
    status: status.status,
    graph: graph as unknown as System['graph'],
    nodes: nodes as unknown as NodeInfo[],
    jobs: (jobs as unknown as JobInfo[]).map((job) => ({ ...job, ...speedOf(speeds.get(job.id)) })),
    exports: exports as unknown as ExportInfo[],
    stats: byNode as unknown as StatsInfo[],
    deviceStats: devices as unknown as StatsInfo[],
  }
}

function speedOf(speed: number | undefined): { readonly speed?: number } {
  return speed === undefined ? {} : { speed }
}

/**
 * Names of users that the graph has none for: exports, where each of the unnamed users of a node is one of its exports.
 * By the number of the user.
 */
export function exportsByUser({ graph, exports }: System): ReadonlyMap<number, string> {
  const names = new Map<number, string>()
  for (const { id: node, name } of graph.nodes) {
    const users = graph.nodes.filter(
      (user) =>
        user.type === 'block-backend' &&
        user.name === '' &&
        graph.edges.some(({ parent, child }) => parent === user.id && child === node),
    )
    const own = exports.filter((one) => one['node-name'] === name)
    if (own.length !== users.length) continue
    for (const [i, { id }] of users.entries()) names.set(id, own[i]?.id ?? '')
  }
  return names
}

/** Bytes read and written so far: by all users of all nodes, or, as QEMU counts no others, by devices. */
export function totalsOf({ stats, deviceStats }: System): { readonly read: number; readonly written: number } {
  const sum = (rows: readonly StatsInfo[], figure: string): number =>
    rows.reduce((total, row) => total + (row.stats[figure] ?? 0), 0)
  return {
    read: Math.max(sum(stats, 'rd_bytes'), sum(deviceStats, 'rd_bytes')),
    written: Math.max(sum(stats, 'wr_bytes'), sum(deviceStats, 'wr_bytes')),
  }
}
