import { Graph } from '@diskgraph/core'
import { cow } from '@diskgraph/driver-cow'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, cow] })
  const storage = await graph.addNode({ driver: 'memory', size: 0, nodeName: 'storage' })
  await graph.create({ driver: 'cow', file: 'storage', size: 2 ** 20 })
  const disk = await graph.add({ driver: 'cow', file: 'storage' })
  await disk.write(4096, new Uint8Array(512).fill(1))
  await disk.flush()
  // storage.size: 6144, the header with the bitmap, and what is before the sector
  expect(storage.size).toBe(6144)
})
