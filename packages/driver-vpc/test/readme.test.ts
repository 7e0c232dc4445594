import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { vpc } from '@diskgraph/driver-vpc'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, vpc] })
  const storage = await graph.addNode({ driver: 'memory', size: 0, nodeName: 'storage' })
  await graph.create({ driver: 'vpc', file: 'storage', size: 64 * 2 ** 20 })
  const disk = await graph.add({ driver: 'vpc', file: 'storage' })
  await disk.write(5 * 2 ** 20, new Uint8Array(4096).fill(1))
  await disk.flush()
  // storage.size: 2100224, both footers, the header, the table and one block of 2 MiB
  expect(storage.size).toBe(2100224)
})
