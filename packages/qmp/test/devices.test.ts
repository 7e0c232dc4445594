/** Devices, as older clients add them, and what is done to them. */
import { Graph } from '@diskgraph/core'
import { DeviceTable } from '@diskgraph/devices'
import { http } from '@diskgraph/driver-http'
import { memory } from '@diskgraph/driver-memory'
import { nullCo } from '@diskgraph/driver-null'
import { createMonitor, type Monitor, System } from '@diskgraph/qmp'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LocalClient } from './local-client.ts'

let graph: Graph
let system: System
let monitor: Monitor
let client: LocalClient

beforeEach(async () => {
  graph = new Graph({ drivers: [memory, nullCo, http] })
  system = new System({ graph, devices: new DeviceTable(graph), name: 'guest' })
  monitor = createMonitor(system)
  client = new LocalClient(monitor)
  await client.execute('qmp_capabilities')
})

afterEach(async () => {
  await system.close()
  monitor.close()
  await graph.close()
})

const disk0 = {
  options: {
    driver: 'memory',
    id: 'disk0',
    size: 65536,
    rerror: 'ignore',
    werror: 'stop',
    aio: 'threads',
    discard: 'unmap',
    cache: { writeback: false, direct: false, 'no-flush': false },
  },
}

describe('blockdev-add as of QEMU 2.1', () => {
  it('adds a device, which the node goes with', async () => {
    expect(await client.execute('blockdev-add', disk0)).toEqual({})
    const [info] = (await client.execute('query-block')) as { device: string; inserted: object }[]
    expect(info).toMatchObject({ device: 'disk0', removable: true, locked: false, type: 'unknown' })
    expect(info?.inserted).toMatchObject({ drv: 'memory', bps: 0, cache: { writeback: false } })
    const [stats] = (await client.execute('query-blockstats')) as { device: string; stats: object }[]
    expect(stats).toMatchObject({ device: 'disk0', stats: { rd_bytes: 0, wr_operations: 0, flush_total_time_ns: 0 } })
    expect(await client.execute('block_resize', { device: 'disk0', size: 131072 })).toEqual({})
    expect(system.devices?.find('disk0')?.size).toBe(131072)
  })

  it('leaves nothing behind when the device cannot be made', async () => {
    await client.execute('blockdev-add', disk0)
    expect(await client.execute('blockdev-add', disk0)).toMatchObject({ class: 'GenericError' })
    expect([...graph.nodes]).toHaveLength(1)
  })

  it('takes a file name for a URL', async () => {
    const args = { driver: 'http', filename: 'http://127.0.0.1:1/disk', 'node-name': 'web' }
    expect(await client.execute('blockdev-add', args)).toMatchObject({ desc: expect.stringContaining('127.0.0.1:1') })
  })
})

describe('a device', () => {
  const limits = { bps: 0, bps_rd: 1048576, bps_wr: 0, iops: 100, iops_rd: 0, iops_wr: 0 }

  beforeEach(async () => {
    await client.execute('blockdev-add', disk0)
  })

  it('is limited', async () => {
    const args = { ...limits, device: 'disk0', bps_rd_max: 2097152, iops_max: 200 }
    expect(await client.execute('block_set_io_throttle', args)).toEqual({})
    const told = { bps_rd: 1048576, bps_rd_max: 2097152, iops: 100, iops_max: 200, group: 'disk0' }
    expect(await client.execute('query-block')).toMatchObject([{ inserted: told }])
  })

  it('has histograms of latency', async () => {
    const boundaries = [1000, 2000]
    expect(await client.execute('block-latency-histogram-set', { id: 'disk0', boundaries })).toEqual({})
    const stats = { rd_latency_histogram: { boundaries, bins: [0, 0, 0] } }
    expect(await client.execute('query-blockstats')).toMatchObject([{ stats }])
  })

  it('has a medium that comes and goes', async () => {
    await system.devices?.find('disk0')?.attach({ name: 'scsi-cd', removable: true, tray: true }, 'cd0')
    client.received.length = 0
    expect(await client.execute('blockdev-remove-medium', { id: 'cd0' })).toMatchObject({
      desc: "Tray of device 'cd0' is not open",
    })
    const moved = client.exchange('{"execute": "blockdev-open-tray", "arguments": {"id": "cd0"}}')
    expect(await moved).toMatchObject([
      { event: 'DEVICE_TRAY_MOVED', data: { device: 'disk0', id: 'cd0', 'tray-open': true } },
      { return: {} },
    ])
    expect(await client.execute('blockdev-remove-medium', { id: 'cd0' })).toEqual({})
    const [empty] = (await client.execute('query-block')) as object[]
    expect(empty).toMatchObject({ tray_open: true, qdev: 'cd0' })
    expect(empty).not.toHaveProperty('inserted')
    await client.execute('blockdev-add', { driver: 'null-co', 'node-name': 'medium', size: 4096 })
    expect(await client.execute('blockdev-insert-medium', { id: 'cd0', 'node-name': 'medium' })).toEqual({})
    expect(await client.execute('blockdev-close-tray', { device: 'disk0' })).toEqual({})
    expect(await client.execute('query-block')).toMatchObject([{ inserted: { 'node-name': 'medium' } }])
    expect(await client.execute('eject', { device: 'disk0', force: true })).toEqual({})
  })

  it('of that name has to be there, and is to be named once', async () => {
    const missing = { class: 'DeviceNotFound', desc: "Device 'nope' not found" }
    expect(await client.execute('eject', { device: 'nope' })).toEqual(missing)
    expect(await client.execute('block_set_io_throttle', { ...limits, device: 'nope' })).toEqual(missing)
    for (const names of [{}, { id: 'a', device: 'b' }]) {
      expect(await client.execute('eject', names)).toMatchObject({ desc: "Need exactly one of 'device' and 'id'" })
    }
  })
})

describe('the run state', () => {
  it('is told, and changes with events', async () => {
    expect(await client.execute('query-status')).toEqual({ running: true, singlestep: false, status: 'running' })
    expect(await client.exchange('{"execute": "stop"}')).toMatchObject([{ event: 'STOP' }, { return: {} }])
    expect(await client.execute('query-status')).toMatchObject({ running: false, status: 'paused' })
    expect(await client.exchange('{"execute": "cont"}')).toMatchObject([{ event: 'RESUME' }, { return: {} }])
  })
})

describe('the monitor', () => {
  it('tells its name, its commands, its events, and its schema, in which each type is there', async () => {
    expect(await client.execute('query-name')).toEqual({ name: 'guest' })
    const commands = (await client.execute('query-commands')) as { name: string }[]
    const events = (await client.execute('query-events')) as { name: string }[]
    type Entry = { name: string; 'meta-type': string; 'arg-type'?: string; 'ret-type'?: string }
    const schema = (await client.execute('query-qmp-schema')) as Entry[]
    const of = (kind: string) => schema.filter((entry) => entry['meta-type'] === kind).map(({ name }) => name)
    expect(of('command').sort()).toEqual(commands.map(({ name }) => name).sort())
    expect(of('event').sort()).toEqual(events.map(({ name }) => name).sort())
    const names = new Set(schema.map(({ name }) => name))
    expect(names.size).toBe(schema.length)
    const named = JSON.stringify(schema).matchAll(/"(?:type|element-type|arg-type|ret-type)":"([^"]+)"/g)
    expect([...named].map(([, name]) => name).filter((name) => !names.has(name as string))).toEqual([])
  })
})
