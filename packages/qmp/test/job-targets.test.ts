/** The images that `drive-backup` makes, and the names of jobs. */
import { readFile, writeFile } from 'node:fs/promises'
import { Graph } from '@diskgraph/core'
import { DeviceTable } from '@diskgraph/devices'
import { file } from '@diskgraph/driver-file'
import { memory } from '@diskgraph/driver-memory'
import { raw } from '@diskgraph/driver-raw'
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

it.each([
  [undefined, 'Operation not permitted'],
  ['raw', undefined],
])('a target that is raw by a guess does not become another format: %s', async (format, error) => {
  await using folder = await TempFolder.make()
  const [source, target] = [folder.file('source'), folder.file('target')]
  const bytes = new Uint8Array(65536).fill(1)
  bytes.set([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3])
  await writeFile(source, bytes)
  await writeFile(target, new Uint8Array(65536))
  const warnings: string[] = []
  await using graph = new Graph({ drivers: [file, raw], onWarning: (text) => warnings.push(text) })
  const system = new System({ graph, devices: new DeviceTable(graph) })
  const monitor = createMonitor(system)
  const client = new LocalClient(monitor)
  await client.execute('qmp_capabilities')
  const storage = { driver: 'file', filename: source }
  await client.execute('blockdev-add', { driver: 'raw', 'node-name': 'disk', file: storage })
  const backup = { device: 'disk', 'job-id': 'job', sync: 'full', target, mode: 'existing' }
  expect(await client.execute('drive-backup', { ...backup, ...(format === undefined ? {} : { format }) })).toEqual({})
  const job = system.jobs.get('job')
  await job?.finished.catch(() => undefined)
  expect(job?.error).toBe(error)
  expect(warnings.some((text) => text.includes('probing guessed raw'))).toBe(error !== undefined)
  await system.close()
  monitor.close()
  expect((await readFile(target)).subarray(0, 8)).toEqual(
    Buffer.from(error === undefined ? bytes.slice(0, 8) : new Uint8Array(8)),
  )
})

it('block-commit is refused for a node that another node stands over', async () => {
  await using graph = new Graph({ drivers: [memory, raw] })
  await using system = new System({ graph })
  const client = new LocalClient(createMonitor(system))
  await client.execute('qmp_capabilities')
  await graph.addNode({ driver: 'memory', nodeName: 'below', size: 65536 })
  await graph.addNode({ driver: 'raw', nodeName: 'above', file: 'below' })
  const refused = await client.execute('block-commit', { device: 'below', 'job-id': 'j' })
  expect(refused).toMatchObject({ desc: 'Need a root block node' })
})
