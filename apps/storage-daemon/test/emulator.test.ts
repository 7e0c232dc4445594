import { type BlockEvent, Graph } from '@diskgraph/core'
import { DeviceTable } from '@diskgraph/devices'
import { nullCo } from '@diskgraph/driver-null'
import { createMonitor, System } from '@diskgraph/qmp'
import { describe, expect, it } from 'vitest'
import { parseDrive } from '../src/drives/drive-options.ts'
import { Drives } from '../src/drives/drives.ts'
import { parseEmulatorLine } from '../src/emulator/command-line.ts'
import { runHuman } from '../src/emulator/human/commands.ts'
import { Models } from '../src/emulator/models.ts'
import { QemuIo } from '../src/emulator/qemu-io.ts'

/** A machine with the drives that `values` of `-drive` say, and what it tells. */
async function machine(work: (machine: Machine) => Promise<void>, ...values: readonly string[]): Promise<void> {
  await using graph = new Graph({ drivers: [nullCo] })
  await using devices = new DeviceTable(graph)
  const drives = new Drives(graph, devices)
  const models = new Models(graph, devices, drives)
  const qemuIo = new QemuIo(graph, devices, 'dg-emulator', new AbortController().signal)
  const monitor = createMonitor(new System({ graph, devices }))
  const events: BlockEvent[] = []
  graph.onEvent((event) => events.push(event))
  for (const value of values) await models.addForDrive(await drives.add(parseDrive(value, { interface: 'ide' })))
  const say = (line: string): Promise<string> => runHuman({ graph, devices, drives, models, qemuIo, monitor }, line)
  await work({ graph, devices, models, events, say })
  monitor.close()
}

interface Machine {
  readonly graph: Graph
  readonly devices: DeviceTable
  readonly models: Models
  readonly events: readonly BlockEvent[]
  say(line: string): Promise<string>
}

describe('the command line', () => {
  it('has options with one dash or two, and refuses others', () => {
    expect(parseEmulatorLine(['-S', '--drive', 'if=none', 'a.img'])).toMatchObject([
      { name: 'S', value: '' },
      { name: 'drive', value: 'if=none', spelled: '-drive if=none' },
      { name: 'hda', value: 'a.img' },
    ])
    expect(() => parseEmulatorLine(['-foo'])).toThrow('-foo: invalid option')
    expect(() => parseEmulatorLine(['-drive'])).toThrow('-drive: requires an argument')
  })

  // Texts of QEMU 7.2 for the same drives.
  it.each([
    ['file=a,driver=raw,format=raw', "Cannot specify both 'driver' and 'format'"],
    [
      'file=a,iops=1,throttling.iops-total=2',
      "'throttling.iops-total' and its alias 'iops' can't be used at the same time",
    ],
    ['file=a,readonly=on,read-only=off', "'read-only' and its alias 'readonly' can't be used at the same time"],
    ['file=a,bps=1,bps_rd=1', 'bps/iops/max total values and read/write values cannot be used at the same time'],
    ['file=a,cache=foo', 'invalid cache option'],
    ['file=a,aio=foo', 'invalid aio option'],
    ['if=foo', "unsupported bus type 'foo'"],
    ['media=foo', "'foo' invalid media"],
    ['id=9', "Parameter 'id' expects an identifier"],
  ])('%s is refused as QEMU does', (value, message) => {
    expect(() => parseDrive(value, { interface: 'ide' })).toThrow(message)
  })

  it('says of a drive what its node, its device and its place are', () => {
    const value = 'driver=null-co,size=1M,cache=directsync,werror=stop,bps_wr_max=20,bps_wr=10,if=virtio,id=d0'
    expect(parseDrive(value, { interface: 'ide' })).toMatchObject({
      interface: 'virtio',
      id: 'd0',
      node: { driver: 'null-co', size: '1M', readOnly: false, cache: { direct: true, noFlush: false } },
      device: { werror: 'stop', writeCache: false },
      limits: { bpsWrite: 10, bpsWriteMax: 20 },
    })
    expect(parseDrive('if=ide,media=cdrom', { interface: 'ide' }).node).toBeUndefined()
  })
})

describe('drives and devices', () => {
  it('info block tells of them as QEMU does', () =>
    machine(
      async ({ say }) => {
        expect(await say('info block')).toBe(
          [
            'd0 (n0): null-co:// (null-co)',
            '    Attached to:      /machine/peripheral-anon/device[0]/virtio-backend',
            '    Cache mode:       writethrough',
            '    I/O throttling:   bps=0 bps_rd=0 bps_wr=0 bps_max=0 bps_rd_max=0 bps_wr_max=0 iops=10 iops_rd=0 iops_wr=0 ' +
              'iops_max=0 iops_rd_max=0 iops_wr_max=0 iops_size=0 group=d0',
            '',
            'ide0-cd0: [not inserted]',
            '    Attached to:      /machine/unattached/device[0]',
            '    Removable device: not locked, tray closed',
            '',
          ].join('\r\n'),
        )
      },
      'if=virtio,id=d0,driver=null-co,node-name=n0,cache=writethrough,iops=10',
      'if=ide,media=cdrom',
    ))

  it('a device without its medium, with an unknown drive, or twice is refused', () =>
    machine(async ({ models }) => {
      await expect(models.add({ driver: 'virtio-blk' })).rejects.toThrow('drive property not set')
      await expect(models.add({ driver: 'virtio-blk', drive: 'd' })).rejects.toThrow("can't find value 'd'")
      await expect(models.add({ driver: 'foo' })).rejects.toThrow("'foo' is not a valid device model name")
      await expect(models.add({ driver: 'scsi-cd' })).rejects.toThrow("No 'SCSI' bus found for device 'scsi-cd'")
      await models.add({ driver: 'virtio-scsi', id: 's' })
      await models.add({ driver: 'scsi-cd', id: 'cd' })
      await expect(models.add({ driver: 'scsi-cd', id: 'cd' })).rejects.toThrow("Duplicate device ID 'cd'")
    }))

  it('an empty drive is refused by a disk, and nothing is left of it', () =>
    machine(async ({ models, devices }) => {
      await devices.add({ id: 'none0' })
      await expect(models.add({ driver: 'ide-hd', drive: 'none0' })).rejects.toThrow(
        'Device needs media, but drive is empty',
      )
      await models.add({ driver: 'ide-cd', drive: 'none0' })
    }))

  it('a device that is removed says so, and lets go of its node', () =>
    machine(async ({ graph, models, events }) => {
      await graph.addNode({ driver: 'null-co', nodeName: 'n' })
      await models.add({ driver: 'virtio-scsi', id: 's' })
      await models.add({ driver: 'scsi-hd', id: 'hd', drive: 'n' })
      await expect(graph.attach('n')).rejects.toMatchObject({ code: 'EPERM' })
      await models.remove('hd')
      expect(events).toMatchObject([
        { event: 'DEVICE_DELETED', data: { device: 'hd', path: '/machine/peripheral/hd' } },
      ])
      await (await graph.attach('n')).close()
      await expect(models.remove('hd')).rejects.toThrow("Device 'hd' not found")
    }))

  it('one that the guest has to let go of stays until the machine is reset', () =>
    machine(async ({ graph, models, events }) => {
      await graph.addNode({ driver: 'null-co', nodeName: 'n' })
      await models.add({ driver: 'virtio-blk', id: 'vb', drive: 'n' })
      await models.remove('vb')
      expect(events).toEqual([])
      await models.reset()
      expect(events.map(({ data }) => data)).toEqual([
        { path: '/machine/peripheral/vb/virtio-backend' },
        { device: 'vb', path: '/machine/peripheral/vb' },
      ])
    }))
})

describe('a drive without a device', () => {
  const none = 'if=none,driver=null-co,read-zeroes=on,node-name=n'

  it('leaves its node to others until somebody writes through it', () =>
    machine(async ({ models, say, graph }) => {
      await models.add({ driver: 'ide-hd', drive: 'n', id: 'hd' })
      expect(await say('qemu-io none0 "write 0 512"')).toContain(
        "permissions 'write' are both required by block device 'none0'",
      )
      await models.remove('hd')
      expect(await say('qemu-io none0 "write 0 512"')).toBe('')
      expect([...(graph.find('n')?.parents ?? [])].map(({ permissions }) => permissions)).toEqual([3])
    }, none))

  it('has a name in which options are spelled as they were given', () =>
    machine(async ({ say }) => {
      expect(await say('info block')).toMatch(/^none0 \(n\): json:{"read-zeroes": "on", "driver": "null-co"} /)
    }, none))

  it('whose cache mode is changed by reopen tells of it', () =>
    machine(async ({ say, devices }) => {
      expect(await say('qemu-io none0 "reopen -c writethrough"')).toBe('')
      expect(devices.find('none0')?.writeCache).toBe(false)
    }, none))

  it('is served by one thread', () =>
    machine(async ({ models }) => {
      await models.add({ driver: 'virtio-scsi', id: 's', iothread: 't' })
      await models.add({ driver: 'lsi53c895a', id: 'l' })
      await models.add({ driver: 'scsi-hd', bus: 's.0', drive: 'n', 'share-rw': 'on' })
      const more = { drive: 'n', 'share-rw': 'on' }
      await expect(models.add({ driver: 'ide-hd', ...more })).rejects.toThrow('Cannot change iothread of active')
      await expect(models.add({ driver: 'scsi-hd', bus: 'l.0', ...more })).rejects.toThrow(
        'HBA does not support iothreads',
      )
      await models.add({ driver: 'scsi-hd', bus: 's.0', ...more })
    }, none))
})

describe('the human monitor', () => {
  it('tells what is wrong with a line', () =>
    machine(async ({ say }) => {
      expect(await say('foo')).toBe("unknown command: 'foo'\r\n")
      expect(await say('')).toBe('')
      expect(await say('qemu-io none "read 0 1"')).toContain("Error: Cannot find device='' nor node-name='none'\r\n")
      expect(await say('savevm x')).toContain('Error: there is no machine')
      expect(await say('commit none')).toBe("Device 'none' not found\r\n")
    }))

  it('adds and removes drives', () =>
    machine(async ({ say, devices }) => {
      expect(await say('drive_add 0 if=none,id=d0,driver=null-co,node-name=n')).toBe('OK\r\n')
      expect(await say('drive_add 0 if=none,id=d0,driver=null-co')).toBe("Duplicate ID 'd0' for drive\r\n")
      expect(await say('drive_add 0 if=none,id=n,driver=null-co')).toBe(
        "Device name 'n' conflicts with an existing node name\r\n",
      )
      expect(await say('drive_del d0')).toBe('')
      expect([...devices]).toEqual([])
    }))
})
