import { deviceInfo, deviceStatistics } from '@diskgraph/devices'
import { findThrottleGroup } from '@diskgraph/throttle'
import { describe, expect, it } from 'vitest'
import { Bench, block, cd, disk, valueAt } from './bench.ts'

describe('limits of a device', () => {
  it('hold its requests, and go when they are taken away', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'd0' }, await bench.node('a'))
      device.setThrottle({ iops: 10 })
      for (let i = 0; i < 11; i++) await device.write(0, block(i))
      expect(bench.clock.now()).toBeCloseTo(900, 0)
      device.setThrottle({ iops: 0 })
      for (let i = 0; i < 100; i++) await device.write(0, block(i))
      expect(bench.clock.now()).toBeCloseTo(900, 0)
      expect(findThrottleGroup(bench.graph, 'd0')).toBeUndefined()
    }))

  it('are told as query-block does: bursts and groups where there are any', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'd0' }, await bench.node('a'))
      device.setThrottle({ iops: 10, iopsMax: 100, iopsMaxLength: 5, iopsSize: 4096 }, 'bar')
      expect(deviceInfo(device).inserted).toMatchObject({
        limits: {
          bps: 0,
          bpsRd: 0,
          bpsWr: 0,
          iops: 10,
          iopsRd: 0,
          iopsWr: 0,
          iopsMax: 100,
          iopsMaxLength: 5,
          iopsSize: 4096,
        },
        group: 'bar',
      })
      expect(deviceInfo(device).inserted?.limits).not.toHaveProperty('bpsMax')
    }))

  it('are refused as QEMU does, and the old ones stay', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'd0' }, await bench.node('a'))
      device.setThrottle({ bps: 10 })
      expect(() => device.setThrottle({ iops: 10, iopsRd: 10 }, 'other')).toThrow(
        'bps/iops/max total values and read/write values cannot be used at the same time',
      )
      expect(() => device.setThrottle({ ips: 10 })).toThrow("Parameter 'ips' is unexpected")
      expect(deviceInfo(device).inserted).toMatchObject({ limits: { bps: 10 }, group: 'd0' })
      expect(findThrottleGroup(bench.graph, 'other')).toBeUndefined()
      const empty = await bench.devices.add({ id: 'd1' })
      expect(() => empty.setThrottle({ iops: 10 })).toThrow('Device has no medium')
    }))

  it('are shared fairly by the devices of a group', () =>
    Bench.run(async (bench) => {
      const counts = [0, 0, 0]
      const guests = counts.map(async (_, i) => {
        const device = await bench.devices.add({ id: `d${i}` }, await bench.node(`n${i}`))
        device.setThrottle({ iops: 300 }, 'shared')
        const lines = Array.from({ length: i + 1 }, async () => {
          for (; bench.clock.now() < 10_000; counts[i] = (counts[i] ?? 0) + 1) await valueAt(device, 0)
        })
        await Promise.all(lines)
      })
      await Promise.all(guests)
      for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(50)
    }))
})

describe('figures of a device', () => {
  it('count what was done, failed and refused', () =>
    Bench.run(async (bench) => {
      const device = await bench.failing({}, { event: 'write_aio', errno: 'EIO', once: true })
      await device.write(0, block(1)).catch(() => undefined)
      await device.write(512, block(1))
      await device.writeZeroes(1024, 512)
      await valueAt(device, 0)
      await valueAt(device, 2 ** 20).catch(() => undefined)
      await device.discard(0, 512)
      await device.flush()
      await bench.pause(5)
      expect(deviceStatistics(device)).toMatchObject({
        device: 'drive0',
        qdev: 'vd0',
        nodeName: 'top',
        stats: {
          rdBytes: 512,
          rdOperations: 1,
          invalidRdOperations: 1,
          wrBytes: 1024,
          wrOperations: 2,
          failedWrOperations: 1,
          unmapBytes: 512,
          unmapOperations: 1,
          flushOperations: 1,
          idleTimeNs: 5e6,
          wrHighestOffset: 1536,
          accountFailed: true,
        },
        parent: { stats: { accountFailed: false, wrHighestOffset: 1536 }, parent: {} },
      })
    }))

  it('tell how long requests took, the time that the throttle holds them included', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'd0' }, await bench.node('a'))
      device.setThrottle({ iopsRd: 1 })
      device.setHistograms({ boundaries: [10, 1_000_000] })
      await valueAt(device, 0)
      await valueAt(device, 0)
      const { stats } = deviceStatistics(device)
      expect(stats.rdTotalTimeNs).toBeCloseTo(9e8, -6)
      expect(stats.rdLatencyHistogram).toEqual({ boundaries: [10, 1_000_000], bins: [1, 0, 1] })
      expect(stats.wrLatencyHistogram?.bins).toEqual([0, 0, 0])
    }))

  it('tell latencies and depths of the last seconds, of each interval that was asked for', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'd0', intervals: [10, 100] }, await bench.node('a'))
      device.setThrottle({ iopsRd: 1 })
      // The second one waits for 0.9 seconds.
      await valueAt(device, 0)
      await valueAt(device, 0)
      await bench.pause(1000 - (bench.clock.now() % 1000))
      const [short, long] = deviceStatistics(device).stats.timedStats
      expect(short).toMatchObject({ intervalLength: 10, minRdLatencyNs: 0, minWrLatencyNs: 0, maxWrLatencyNs: 0 })
      expect(short?.maxRdLatencyNs).toBeCloseTo(9e8, -6)
      expect(short?.avgRdLatencyNs).toBeCloseTo(4.5e8, -6)
      expect(short?.avgRdQueueDepth).toBeCloseTo(0.9, 2)
      expect(long).toEqual({ ...short, intervalLength: 100 })
      await bench.pause(10_000)
      const [later, still] = deviceStatistics(device).stats.timedStats
      expect(later).toMatchObject({ maxRdLatencyNs: 0, avgRdLatencyNs: 0, avgRdQueueDepth: 0 })
      expect(still?.maxRdLatencyNs).toBe(long?.maxRdLatencyNs)
      expect(still?.avgRdQueueDepth).toBeCloseTo(0.9 / 11, 3)
      await expect(bench.devices.add({ id: 'd1', intervals: [0] })).rejects.toThrow('Invalid interval length: 0')
    }))

  it('start and end histograms kind by kind', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'd0' }, await bench.node('a'))
      const kinds = (): string[] =>
        Object.keys(deviceStatistics(device).stats).filter((name) => name.endsWith('Histogram'))
      device.setHistograms({ boundaries: [10, 20], boundariesFlush: [7] })
      expect(deviceStatistics(device).stats.flushLatencyHistogram?.boundaries).toEqual([7])
      device.setHistograms({ boundariesRead: [] })
      expect(kinds()).toEqual(['wrLatencyHistogram', 'flushLatencyHistogram'])
      for (const boundaries of [[10, 5], [0, 5], [5, 5], [1.5]]) {
        expect(() => device.setHistograms({ boundaries })).toThrow("Device 'd0' set read boundaries fail")
      }
      device.setHistograms({})
      expect(kinds()).toEqual([])
    }))

  it('stay when the medium changes', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'd0' }, await bench.node('a'))
      await valueAt(device, 0)
      await device.eject()
      expect(deviceStatistics(device)).toMatchObject({ device: 'd0', stats: { rdOperations: 1 } })
      expect(deviceStatistics(device)).not.toHaveProperty('nodeName')
    }))
})

describe('what query-block tells', () => {
  it('of a drive without a model, an empty one, a disk and a CD drive', () =>
    Bench.run(async (bench) => {
      const { devices } = bench
      const drive = await devices.add({ id: 'd0', writeCache: false }, await bench.node('a'))
      const empty = await devices.add({ id: 'empty' })
      const hard = await devices.addModel(disk, 'vd0', await bench.node('b'))
      const optical = await devices.addModel(cd, 'cd0')
      const common = { type: 'unknown', locked: false }
      const told = [...devices].map((device) => {
        const { inserted, ...rest } = deviceInfo(device)
        return inserted === undefined ? rest : { ...rest, node: inserted.node.name, writeback: inserted.writeback }
      })
      expect(told).toEqual([
        { ...common, device: 'd0', removable: true, node: 'a', writeback: false },
        { ...common, device: 'empty', removable: true },
        { ...common, device: '', qdev: 'vd0', removable: false, ioStatus: 'ok', node: 'b', writeback: true },
        { ...common, device: '', qdev: 'cd0', removable: true, ioStatus: 'ok', trayOpen: false },
      ])
      expect([drive, empty, hard, optical]).toEqual([...devices])
      expect(devices.nodeOf('d0')?.name).toBe('a')
    }))
})
