import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { preallocate } from '@diskgraph/driver-preallocate'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, qcow2, preallocate] })
  const storage = { driver: 'memory', name: 'image' } as const
  await graph.create({ driver: 'qcow2', size: 2 ** 30, file: storage })
  const file = { driver: 'preallocate', preallocSize: 2 ** 24, file: storage } as const
  const disk = await graph.add({ driver: 'qcow2', file })
  await disk.write(0, new Uint8Array(2 ** 20).fill(7))
  expect(disk.size).toBe(2 ** 30)
})
