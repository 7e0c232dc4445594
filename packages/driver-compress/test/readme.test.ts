import { Graph } from '@diskgraph/core'
import { compress } from '@diskgraph/driver-compress'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory, qcow2, compress] })
  const file = { driver: 'memory', name: 'image' } as const
  await graph.create({ driver: 'qcow2', size: 2 ** 20, file })
  const disk = await graph.add({ driver: 'compress', file: { driver: 'qcow2', file } })
  await disk.write(0, new Uint8Array(2 ** 20).fill(7))
  const status = await disk.node.filtered?.node.blockStatus(0, 65536)
  expect(status).toMatchObject({ compressed: true })
})
