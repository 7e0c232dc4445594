import { Graph } from '@diskgraph/core'
import { DeviceTable, deviceInfo, deviceStatistics } from '@diskgraph/devices'
import { memory } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [memory] })
  await using devices = new DeviceTable(graph)
  const told: string[] = []
  graph.onEvent(({ event }) => told.push(event))

  const node = await graph.addNode({ driver: 'memory', nodeName: 'disk', size: 2 ** 20 })
  const drive = await devices.add({ id: 'drive0', werror: 'stop' }, node)
  await drive.attach({ name: 'scsi-cd', removable: true, tray: true }, 'cd0')
  drive.setThrottle({ bpsWr: 2 ** 24 })

  devices.runState.stop()
  const writing = drive.write(0, new Uint8Array(4096)) // waits: the guest is stopped
  devices.runState.cont()
  await writing
  await drive.eject()
  // told: STOP, RESUME, DEVICE_TRAY_MOVED
  const info = deviceInfo(drive)
  const { stats } = deviceStatistics(drive)
  expect(told).toEqual(['STOP', 'RESUME', 'DEVICE_TRAY_MOVED'])
  expect(info).toMatchObject({ device: 'drive0', qdev: 'cd0', trayOpen: true })
  expect(stats).toMatchObject({ wrBytes: 4096, wrOperations: 1 })
})
