import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { qed } from '@diskgraph/driver-qed'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, qed] })
  const storage = await graph.addNode({ driver: 'memory', size: 0, nodeName: 'storage' })
  await graph.create({ driver: 'qed', file: 'storage', size: 64 * 2 ** 20 })
  const disk = await graph.add({ driver: 'qed', file: 'storage' })
  await disk.write(5 * 2 ** 20, new Uint8Array(4096).fill(1))
  await disk.flush()
  // storage.size: 655360, the header, two tables of 256 KiB, and one cluster
  expect(storage.size).toBe(655360)
})
