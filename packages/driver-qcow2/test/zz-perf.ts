import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow2 } from '@diskgraph/driver-qcow2'

for (let i = 0; i < Number(process.env.N ?? 4); i++) {
  const graph = new Graph({ drivers: [file, qcow2] } as never)
  const d = await graph.addUnchecked(
    { driver: 'qcow2', readOnly: true, file: { driver: 'file', filename: process.env.IMG, locking: 'off' } },
    { check: true } as never,
  )
  await d.read(0, new Uint8Array(4096)); const c0 = process.cpuUsage()
  const t = performance.now()
  const r = await d.check({ repair: 'none' })
  const c = process.cpuUsage(c0)
  console.log(
    performance.now() - t,
    'cpu',
    (c.user + c.system) / 1000,
    r.corruptions,
    r.leaks,
    r.allocatedClusters,
    process.memoryUsage().rss / 1e6,
  )
  await graph.close()
}
