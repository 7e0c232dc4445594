import { Graph } from '@diskgraph/core'
import { delay } from '@diskgraph/driver-delay'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, delay] })
  const file = { driver: 'memory', size: 2 ** 20 } as const
  const disk = await graph.add({ driver: 'delay', readDelay: 8, flushDelay: 20, file })
  await disk.read(0, new Uint8Array(4096))
  await graph.reopen(disk.node, { readDelay: 0 })
  expect(disk.size).toBe(2 ** 20)
})
