import { Graph } from '@diskgraph/core'
import { cache } from '@diskgraph/driver-cache'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, cache] })
  const file = { driver: 'memory', size: 2 ** 20 } as const
  const disk = await graph.add({ driver: 'cache', cacheSize: 2 ** 22, file })
  await disk.read(0, new Uint8Array(4096))
  await disk.read(8192, new Uint8Array(4096))
  const figures = disk.node.image.statistics?.() // { hits: 1, misses: 1, pages: 1 }
  expect(figures).toEqual({ hits: 1, misses: 1, pages: 1 })
})
