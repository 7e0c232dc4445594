import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { vhdx } from '@diskgraph/driver-vhdx'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, vhdx] })
  const storage = await graph.addNode({ driver: 'memory', size: 0, nodeName: 'storage' })
  await graph.create({ driver: 'vhdx', file: 'storage', size: 2 ** 30, blockSize: 2 ** 20 })
  const disk = await graph.add({ driver: 'vhdx', file: 'storage' })
  await disk.write(5 * 2 ** 20, new Uint8Array(4096).fill(1))
  await disk.flush()
  // storage.size: 5242880, header, log, table and metadata, and one block
  expect(storage.size).toBe(5242880)
})
