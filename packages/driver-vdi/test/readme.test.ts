import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { vdi } from '@diskgraph/driver-vdi'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, vdi] })
  const storage = await graph.addNode({ driver: 'memory', size: 0, nodeName: 'storage' })
  await graph.create({ driver: 'vdi', file: 'storage', size: 64 * 2 ** 20 })
  const disk = await graph.add({ driver: 'vdi', file: 'storage' })
  await disk.write(5 * 2 ** 20, new Uint8Array(4096).fill(1))
  await disk.flush()
  // storage.size: 1049600, the header, the map and one block of 1 MiB
  expect(storage.size).toBe(1049600)
})
