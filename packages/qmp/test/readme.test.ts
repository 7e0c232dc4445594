import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample, TempFolder } from '@diskgraph/driver-testkit'
import { createMonitor, listen, System, serveClient } from '@diskgraph/qmp'
import { expect, it, vi } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined)
  await using folder = await TempFolder.make()
  const path = folder.file('qmp.sock')
  await using graph = new Graph({ drivers: [memory] })
  const monitor = createMonitor(new System({ graph }))
  const listener = await listen({ path }, (client) => void serveClient(monitor, client, client))

  await monitor.execute('blockdev-add', { driver: 'memory', 'node-name': 'disk0', size: 1048576 })
  console.log(await monitor.execute('query-named-block-nodes', { flat: true }))

  await listener.close()
  monitor.close()
  expect(log.mock.calls).toMatchObject([[[{ 'node-name': 'disk0', image: { 'virtual-size': 1048576 } }]]])
  log.mockRestore()
})
