import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { qcow } from '@diskgraph/driver-qcow'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, qcow] })
  const storage = await graph.addNode({ driver: 'memory', size: 0, nodeName: 'storage' })
  await graph.create({ driver: 'qcow', file: 'storage', size: 64 * 2 ** 20 })
  const disk = await graph.add({ driver: 'qcow', file: 'storage' })
  await disk.write(5 * 2 ** 20, new Uint8Array(4096).fill(1))
  await disk.flush()
  // storage.size: 12288, the header with the root, a table, and one cluster
  expect(storage.size).toBe(12288)
})
