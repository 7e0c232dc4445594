import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { vmdk } from '@diskgraph/driver-vmdk'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, vmdk] })
  const storage = await graph.addNode({ driver: 'memory', size: 0, nodeName: 'storage' })
  await graph.create({ driver: 'vmdk', file: 'storage', size: 64 * 2 ** 20 })
  const disk = await graph.add({ driver: 'vmdk', file: 'storage' })
  await disk.write(5 * 2 ** 20, new Uint8Array(4096).fill(1))
  await disk.flush()
  // storage.size: 131072, header, descriptor and tables, and one grain
  expect(storage.size).toBe(131072)
})
