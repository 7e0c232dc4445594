import { Graph } from '@diskgraph/core'
import { blkverify } from '@diskgraph/driver-blkverify'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, blkverify] })
  const side = { driver: 'memory', size: 2 ** 20 } as const
  const disk = await graph.add({ driver: 'blkverify', raw: side, test: side })
  await disk.write(0, new Uint8Array(512).fill(7))
  await disk.read(0, new Uint8Array(512))
  expect(disk.size).toBe(2 ** 20)
})
