/** `--metrics`: what nodes, devices, jobs and exports do, as text for Prometheus. Figures are taken when they are asked for. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { BlockError, describeErrorCode, errorCodeOf } from '@diskgraph/core'
import { type DeviceStatistics, usedNodeStatistics } from '@diskgraph/devices'
import type { System } from '@diskgraph/qmp'
import { Counter, Gauge, Registry } from 'prom-client'

/** A server of metrics. */
export interface MetricsServer {
  readonly url: string
  close(): Promise<void>
}

/**
 * Serves them at `HOST:PORT`, for this machine alone unless `remote`: then everybody who reaches it sees the names of nodes
 * and files. EACCES for an address that others reach otherwise.
 */
export async function serveMetrics(system: System, text: string, remote: boolean): Promise<MetricsServer> {
  const [, given = '', digits = ''] = /^(?:(.*):)?(\d{1,5})$/.exec(text) ?? []
  const [host, port] = [given.replace(/^\[(.*)\]$/, '$1') || '127.0.0.1', Number(digits)]
  if (digits === '' || port > 65535) throw new BlockError('EINVAL', `'${text}' is no address: HOST:PORT is expected`)
  const isLocal = /^(?:localhost|::1|127\.\d+\.\d+\.\d+)$/.test(host)
  if (!remote && !isLocal) {
    throw new BlockError('EACCES', `refusing to listen at '${host}', which others on the network reach`, {
      hint: '--allow-tcp lets them',
    })
  }
  const registry = metricsOf(system)
  const server = createServer((request, response) => void answer(registry, request, response, isLocal))
  server.maxConnections = 16
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      const code = errorCodeOf(cause)
      const isTaken = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE'
      const reason = isTaken ? 'Address already in use' : code === 'EIO' ? cause.message : describeErrorCode(code)
      reject(new BlockError(code, `Failed to listen at '${host}:${port}': ${reason}`, { cause }))
    })
    server.listen(port, host, resolve)
  })
  const { port: own } = server.address() as AddressInfo
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${own}/metrics`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** A page that a browser is made to open under another name does not read them: its host is not this one. */
async function answer(
  registry: Registry,
  { method, url, headers }: IncomingMessage,
  response: ServerResponse,
  isLocal: boolean,
): Promise<void> {
  const isOwn = /^(?:localhost|\[::1\]|127\.\d+\.\d+\.\d+)(?::\d+)?$/.test(headers.host ?? '')
  if (isLocal && !isOwn) response.writeHead(403).end()
  else if (method !== 'GET' && method !== 'HEAD') response.writeHead(405, { allow: 'GET, HEAD' }).end()
  else if (url !== '/metrics') response.writeHead(404).end()
  else {
    try {
      const text = await registry.metrics()
      response.writeHead(200, { 'content-type': registry.contentType }).end(method === 'GET' ? text : undefined)
    } catch (error) {
      response.writeHead(500).end(`${(error as Error).message}\n`)
    }
  }
}

/** Figures with their labels, at the time of asking. */
type Figures = () => Iterable<readonly [labels: Readonly<Record<string, string>>, value: number]>

const kinds = [
  ['read', 'rd'],
  ['write', 'wr'],
  ['flush', 'flush'],
  ['discard', 'unmap'],
] as const

function metricsOf({ graph, devices, jobs, nbd }: System): Registry {
  const registry = new Registry()
  const add = (name: string, help: string, labelNames: readonly string[], figures: Figures): void => {
    const collect = (): void => {
      metric.reset()
      for (const [labels, value] of figures()) metric.inc({ ...labels }, value)
    }
    const settings = { name: `diskgraph_${name}`, help, labelNames: [...labelNames], registers: [registry], collect }
    const metric: Counter | Gauge = name.endsWith('_total') ? new Counter(settings) : new Gauge(settings)
  }
  add('node_size_bytes', 'Virtual size of a node', ['node', 'driver'], () =>
    [...graph.nodes].map((node) => [{ node: node.name, driver: node.driver.name }, node.size]),
  )
  const requests = (name: string, label: string, all: () => Iterable<readonly [string, DeviceStatistics]>): void => {
    const labels = [label, 'operation']
    const each = (figure: (stats: DeviceStatistics, short: 'rd' | 'wr' | 'flush' | 'unmap') => number): Figures =>
      function* () {
        for (const [id, stats] of all()) {
          for (const [operation, short] of kinds) yield [{ [label]: id, operation }, figure(stats, short)]
        }
      }
    add(
      `${name}_operations_total`,
      'Requests that succeeded',
      labels,
      each((stats, kind) => stats[`${kind}Operations`]),
    )
    add(
      `${name}_failures_total`,
      'Requests that failed',
      labels,
      each((stats, kind) => stats[failed[kind]]),
    )
    add(
      `${name}_bytes_total`,
      'Bytes of requests that succeeded',
      labels,
      each((stats, kind) => (kind === 'flush' ? 0 : stats[`${kind}Bytes`])),
    )
    add(
      `${name}_seconds_total`,
      'Time spent in requests',
      labels,
      each((stats, kind) => stats[`${kind}TotalTimeNs`] / 1e9),
    )
  }
  // Requests are counted where they come in: of a node that only other nodes use there is nothing to tell.
  requests('node', 'node', () =>
    [...graph.nodes]
      .filter(({ parents }) => [...parents].some(({ parent }) => parent.isRoot))
      .map((node) => [node.name, usedNodeStatistics(node).stats]),
  )
  requests('device', 'device', () =>
    [...(devices ?? [])].map((device) => [device.name, device.accounting.statistics(device.node?.writtenUpTo ?? 0)]),
  )
  const jobLabels = ['job', 'type', 'status']
  const ofJobs = (figure: 'offset' | 'length' | 'speed'): Figures =>
    function* () {
      for (const job of jobs.list()) yield [{ job: job.id, type: job.type, status: job.status }, job[figure]]
    }
  add('job_offset_bytes', 'What a job has done', jobLabels, ofJobs('offset'))
  add('job_length_bytes', 'What a job has to do', jobLabels, ofJobs('length'))
  add('job_speed_bytes', 'The limit of a job per second; 0: none', jobLabels, ofJobs('speed'))
  add('nbd_clients', 'Clients of an NBD export', ['export', 'node'], () =>
    nbd.list().map(({ id, nodeName, users }) => [{ export: id, node: nodeName }, users.size]),
  )
  return registry
}

const failed = {
  rd: 'failedRdOperations',
  wr: 'failedWrOperations',
  flush: 'failedFlushOperations',
  unmap: 'failedUnmapOperations',
} as const
