import { Graph } from '@diskgraph/core'
import { luks } from '@diskgraph/driver-luks'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, luks], secrets: { key: 'open sesame' } })
  const storage = await graph.addNode({ driver: 'memory', size: 0, nodeName: 'storage' })
  await graph.create({ driver: 'luks', file: 'storage', size: 2 ** 20, keySecret: 'key' })
  const disk = await graph.add({ driver: 'luks', file: 'storage', keySecret: 'key' })
  await disk.write(0, new Uint8Array(512).fill(1))
  await disk.amend({ options: { state: 'active', newSecret: 'key', keyslot: 1 } })
  // storage.size: 3117056, of which 2068480 are header and keys
  expect(storage.size).toBe(3117056)
})
