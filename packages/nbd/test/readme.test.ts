import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample, TempFolder } from '@diskgraph/driver-testkit'
import { connectSocket, listen, NbdClient, NbdServer } from '@diskgraph/nbd'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using folder = await TempFolder.make()
  const path = folder.file('disk.sock')
  // path is, say, '/run/user/1000/disk.sock'
  await using graph = new Graph({ drivers: [memory] })
  const disk = await graph.add({ driver: 'memory', size: 1048576 }, { permissions: 0 })
  await using server = new NbdServer(graph)
  await server.exports.add(disk, { name: 'disk', writable: true })
  await listen(server, { path })

  // Somewhere else:
  await using client = await NbdClient.connect({ connect: () => connectSocket({ path }), exportName: 'disk' })
  await client.write(4096, new Uint8Array([1, 2, 3]))
  await client.flush()

  const buf = new Uint8Array(3)
  await disk.read(4096, buf)
  expect([...buf]).toEqual([1, 2, 3])
})
