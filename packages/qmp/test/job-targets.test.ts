/** The images that `drive-backup` makes, and the names of jobs. */
import { Graph } from '@diskgraph/core'
import { DeviceTable } from '@diskgraph/devices'
import { file } from '@diskgraph/driver-file'
import { memory } from '@diskgraph/driver-memory'
import { TempFolder } from '@diskgraph/driver-testkit'
import { createMonitor, System } from '@diskgraph/qmp'
import { expect, it } from 'vitest'
import { LocalClient } from './local-client.ts'

it('drive-backup makes a bare file where its format is the name of a protocol', async () => {
  await using folder = await TempFolder.make()
  await using graph = new Graph({ drivers: [file, memory] })
  const devices = new DeviceTable(graph)
  const system = new System({ graph, devices })
  const monitor = createMonitor(system)
  const client = new LocalClient(monitor)
  await client.execute('qmp_capabilities')
  await client.execute('blockdev-add', { driver: 'memory', size: 65536, 'node-name': 'disk' })
  const target = folder.file('target.img')
  const backup = { device: 'disk', 'job-id': 'job', sync: 'full', target, format: 'file' }
  expect(await client.execute('drive-backup', backup)).toEqual({})
  await system.jobs.get('job')?.finished
  await system.close()
  monitor.close()
  await using copy = await graph.add({ driver: 'file', filename: target, readOnly: true })
  expect(copy.size).toBe(65536)
})

it('a job has the name of the device whose node it is started on', async () => {
  await using graph = new Graph({ drivers: [memory] })
  const devices = new DeviceTable(graph)
  const system = new System({ graph, devices })
  const monitor = createMonitor(system)
  const client = new LocalClient(monitor)
  await client.execute('qmp_capabilities')
  for (const name of ['disk', 'target']) {
    await client.execute('blockdev-add', { driver: 'memory', size: 65536, 'node-name': name })
  }
  await devices.add({ id: 'drive0' }, 'disk')
  const nameless = await client.execute('blockdev-mirror', { device: 'target', target: 'disk', sync: 'full' })
  expect(nameless).toMatchObject({ desc: "Invalid job ID ''" })
  const mirror = { device: 'disk', target: 'target', sync: 'full' }
  expect(await client.execute('blockdev-mirror', mirror)).toEqual({})
  expect(system.jobs.get('drive0')?.type).toBe('mirror')
  await system.close()
  monitor.close()
})
