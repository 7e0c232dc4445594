import { deviceInfo } from '@diskgraph/devices'
import { describe, expect, it } from 'vitest'
import { Bench, block, cd, disk, stateOf, valueAt } from './bench.ts'

it('a table that is closed takes no device', () =>
  Bench.run(async (bench) => {
    await bench.devices.close()
    const message = 'cannot add a device: the table of devices is closed'
    await expect(bench.devices.add({ id: 'd0' })).rejects.toMatchObject({ code: 'ENODEV', message })
    expect([...bench.devices]).toEqual([])
  }))

describe('a removable medium', () => {
  it('is ejected, changed and put in, and the tray tells of it', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'cd' }, await bench.node('a', 1))
      await device.attach(cd, 'cd0')
      await device.eject()
      expect(device.medium).toBeUndefined()
      await expect(valueAt(device, 0)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
      await device.insertMedium(await bench.node('b', 2))
      device.closeTray()
      expect(await valueAt(device, 0)).toBe(2)
      const c = await bench.node('c', 3)
      await device.changeMedium(async () => bench.graph.find(c) as never)
      expect(await valueAt(device, 0)).toBe(3)
      const moved = (trayOpen: boolean) => ({ device: 'cd', id: 'cd0', trayOpen })
      expect(bench.named('DEVICE_TRAY_MOVED')).toEqual([moved(true), moved(false), moved(true), moved(false)])
    }))

  it('is refused while the tray is closed, another is in, or somebody uses it', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.addModel(cd, 'cd0', await bench.node('a'))
      const b = await bench.node('b')
      await expect(device.removeMedium()).rejects.toThrow("Tray of device 'cd0' is not open")
      await expect(device.insertMedium('a')).rejects.toThrow("Node 'a' is already in use")
      await expect(device.insertMedium(b)).rejects.toThrow('Tray of the device is not open')
      expect(device.openTray()).toBe(true)
      await expect(device.insertMedium(b)).rejects.toThrow('There already is a medium in the device')
      await expect(device.insertMedium('none')).rejects.toThrow("Node 'none' not found")
    }))

  it('stays in a locked tray unless it is forced', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.addModel(cd, 'cd0', await bench.node('a'))
      device.lock(true)
      expect(device.openTray()).toBe(false)
      await expect(device.eject()).rejects.toThrow(
        "Device 'cd0' is locked and force was not specified, wait for tray to open and try again",
      )
      expect(device.medium).toBeDefined()
      await device.eject(true)
      expect(device.medium).toBeUndefined()
    }))

  it('of a disk stays where it is', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.addModel(disk, 'vd0', await bench.node('a'))
      await expect(device.eject()).rejects.toThrow("Device 'vd0' is not removable")
      expect(() => device.closeTray()).toThrow("Device 'vd0' is not removable")
      await expect(device.insertMedium(await bench.node('b'))).rejects.toThrow('Device is not removable')
    }))

  it('is left alone when the next one cannot be opened', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.addModel(cd, 'cd0', await bench.node('a', 1))
      const opening = device.changeMedium(async () => {
        throw new Error('none there')
      })
      await expect(opening).rejects.toThrow('none there')
      expect(await valueAt(device, 0)).toBe(1)
      expect(bench.events).toEqual([])
    }))

  it('is opened as the one before by who is not told how, and at first as the device says', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'fd', mediaReadOnly: true })
      expect(device.mediaReadOnly).toBe(true)
      await device.insertMedium(await bench.node('a'))
      expect(deviceInfo(device).inserted?.readOnly).toBe(false)
      await device.eject()
      expect(device.mediaReadOnly).toBe(false)
    }))

  it('is closed with its node when nobody else uses it', () =>
    Bench.run(async (bench) => {
      const opened = await bench.graph.add({ driver: 'memory', nodeName: 'own', size: 512 })
      const device = await bench.devices.add({ id: 'fd' }, opened.node)
      await opened.close()
      expect(bench.graph.find('own')).toBeDefined()
      await device.eject()
      expect(bench.graph.find('own')).toBeUndefined()
    }))

  it('is taken out when the requests that the throttle holds have ended', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'fd' }, await bench.node('a'))
      device.setThrottle({ iops: 1 })
      const writing = [1, 2, 3].map((value) => device.write(value * 512, block(value)))
      expect(await stateOf(writing[2] as Promise<void>, bench)).toBe('waiting')
      await device.eject()
      await Promise.all(writing)
      expect(bench.clock.now()).toBeLessThan(100)
      await device.insertMedium('a')
      expect(await valueAt(device.medium as never, 1536)).toBe(3)
    }))

  it('tells of its size when it is resized or changed', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'fd' }, await bench.node('a'))
      const sizes: number[] = []
      device.onResize((size) => sizes.push(size))
      const resizing = await bench.graph.attach('a')
      await resizing.truncate(2 ** 21)
      await resizing.close()
      await device.eject()
      await device.insertMedium(await bench.node('b'))
      expect(sizes).toEqual([2 ** 21, 0, 2 ** 20])
    }))
})

describe('another node', () => {
  it('is shown instead, which others write to no more, and the first one is free', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.addModel(disk, 'vd0', await bench.node('a', 1))
      const sizes: number[] = []
      device.onResize((size) => sizes.push(size))
      await device.show(await bench.node('b', 2))
      expect(await valueAt(device, 0)).toBe(2)
      expect(sizes).toEqual([2 ** 20])
      await (await bench.graph.attach('a')).close()
      await expect(bench.graph.attach('b')).rejects.toMatchObject({ code: 'EPERM' })
    }))

  it('is refused while somebody else uses it, or without a medium', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.addModel(disk, 'vd0', await bench.node('a', 1))
      await bench.devices.addModel(disk, 'vd1', await bench.node('b'))
      await expect(device.show('b')).rejects.toMatchObject({ code: 'EPERM' })
      expect(await valueAt(device, 0)).toBe(1)
      const empty = await bench.devices.addModel(cd, 'cd0')
      await expect(empty.show('a')).rejects.toThrow("Device 'cd0' has no medium")
    }))
})

describe('names and users', () => {
  it('a device and a node cannot have one name', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'd0' }, await bench.node('n0'))
      await expect(bench.node('d0')).rejects.toThrow('node-name=d0 is conflicting with a device id')
      await expect(bench.devices.add({ id: 'n0' })).rejects.toThrow(
        "Device name 'n0' conflicts with an existing node name",
      )
      await expect(bench.devices.add({ id: 'd0' })).rejects.toThrow("Device with id 'd0' already exists")
      await device.close()
      await bench.node('d0')
    }))

  it('nothing is left of a device that could not be added', () =>
    Bench.run(async (bench) => {
      await bench.devices.addModel(disk, 'vd0', await bench.node('a'))
      await expect(bench.devices.add({ id: 'd0' }, 'a')).rejects.toMatchObject({ code: 'EPERM' })
      await expect(bench.devices.addModel(disk, 'vd1', 'a')).rejects.toMatchObject({ code: 'EPERM' })
      expect([...bench.devices].map(({ name }) => name)).toEqual(['vd0'])
      await bench.devices.add({ id: 'd0' })
    }))

  it('a model keeps other writers away as long as it is there', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'd0' }, await bench.node('a'))
      await device.attach(disk, 'vd0')
      await expect(device.attach(disk, 'vd1')).rejects.toThrow("Drive 'd0' is already in use by another device")
      await expect(bench.graph.attach('a')).rejects.toMatchObject({ code: 'EPERM' })
      await device.detach()
      await (await bench.graph.attach('a')).close()
    }))

  it('a model is refused while another user writes, and the device is as before', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'd0' }, await bench.node('a'))
      const other = await bench.graph.attach('a')
      await expect(device.attach(disk, 'vd0')).rejects.toMatchObject({ code: 'EPERM' })
      expect(device.qdev).toBeUndefined()
      await other.close()
      await device.attach(disk, 'vd0')
    }))

  it('devices are found by their name, or by that of their model', () =>
    Bench.run(async (bench) => {
      const { devices } = bench
      const named = await devices.add({ id: 'd0' })
      const model = await devices.addModel(disk, '/machine/peripheral/vd0/virtio-backend')
      expect(devices.require({ device: 'd0' })).toBe(named)
      for (const id of ['vd0', '/machine/peripheral/vd0', '/machine/peripheral/vd0/virtio-backend']) {
        expect(devices.require({ id })).toBe(model)
      }
      const byId = await devices.addModel(disk, 'sda')
      expect(devices.require({ id: '/machine/peripheral/sda' })).toBe(byId)
      expect(() => devices.require({ id: 'd0' })).toThrow("Device 'd0' not found")
      expect(() => devices.require({ device: '' })).toThrow("Device '' not found")
      expect(() => devices.require({})).toThrow("Need exactly one of 'device' and 'id'")
      expect(() => devices.require({ device: 'd0', id: 'vd0' })).toThrow("Need exactly one of 'device' and 'id'")
    }))

  it('a read-only device writes nothing', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'd0', readOnly: true, werror: 'stop' }, await bench.node('a'))
      await expect(device.write(0, block(1))).rejects.toMatchObject({ code: 'EPERM' })
      expect(deviceInfo(device).inserted?.readOnly).toBe(true)
      expect(bench.devices.runState.running).toBe(true)
    }))

  it('a closed device takes no medium, not even one that was on its way', () =>
    Bench.run(async (bench) => {
      const device = await bench.devices.add({ id: 'cd' })
      const node = await bench.node('a')
      const closing = device.close()
      await expect(device.insertMedium(node)).rejects.toMatchObject({ code: 'ENODEV' })
      await closing
      expect(bench.graph.find(node)?.parents.size).toBe(0)
    }))
})
