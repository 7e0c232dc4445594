import { Graph } from '@diskgraph/core'
import { copyOnRead } from '@diskgraph/driver-copy-on-read'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [copyOnRead, memory, qcow2] })
  await graph.create({ driver: 'qcow2', size: 2 ** 20, file: { driver: 'memory', name: 'local' } })
  const far = { driver: 'memory', size: 2 ** 20 } as const
  const disk = await graph.add({
    driver: 'copy-on-read',
    file: { driver: 'qcow2', file: { driver: 'memory', name: 'local' }, backing: far },
  })
  await disk.read(0, new Uint8Array(512))
  // The first cluster stands in `local` now.
  expect(await disk.node.filtered?.node.blockStatus(0, 2 ** 20)).toMatchObject({ allocated: true, length: 65536 })
})
