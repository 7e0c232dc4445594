import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { nbd } from '@diskgraph/driver-nbd'
import { mustShowExample, TempFolder } from '@diskgraph/driver-testkit'
import { listen, NbdServer } from '@diskgraph/nbd'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using folder = await TempFolder.make()
  const path = folder.file('disk.sock')
  await using served = new Graph({ drivers: [memory] })
  await using server = new NbdServer(served)
  const shown = await served.add({ driver: 'memory', size: 1048576 })
  await shown.write(4096, new Uint8Array(4096).fill(7))
  await server.exports.add(shown, { name: 'disk', writable: true })
  await listen(server, { path })

  // path is, say, '/run/user/1000/disk.sock'
  await using graph = new Graph({ drivers: [nbd] })
  const disk = await graph.add({ driver: 'nbd', server: { type: 'unix', path }, export: 'disk' })
  await disk.read(4096, new Uint8Array(4096))
  expect(disk.size).toBe(1048576)
})
