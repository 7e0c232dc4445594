import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { parallels } from '@diskgraph/driver-parallels'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, parallels] })
  const storage = await graph.addNode({ driver: 'memory', size: 0, nodeName: 'storage' })
  await graph.create({ driver: 'parallels', file: 'storage', size: 64 * 2 ** 20, clusterSize: 65536 })
  const disk = await graph.add({ driver: 'parallels', file: 'storage' })
  await disk.write(5 * 2 ** 20, new Uint8Array(4096).fill(1))
  await disk.flush()
  // storage.size: 131072, the header with the table, and one cluster
  expect(storage.size).toBe(131072)
})
