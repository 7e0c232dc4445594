import { Graph } from '@diskgraph/core'
import { blklogwrites } from '@diskgraph/driver-blklogwrites'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, blklogwrites] })
  const file = { driver: 'memory', size: 2 ** 20 } as const
  const log = { driver: 'memory', size: 0 } as const
  const disk = await graph.add({ driver: 'blklogwrites', file, log })
  await disk.write(0, new Uint8Array(512).fill(7))
  await disk.flush()
  expect(disk.node.children.get('log')?.node.size).toBe(2048)
})
