import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BlockEvent, Graph } from '@diskgraph/core'
import { DeviceTable } from '@diskgraph/devices'
import { nullCo } from '@diskgraph/driver-null'
import { peer } from '@diskgraph/driver-testkit'
import { type JobTable, startMirror } from '@diskgraph/jobs'
import { createMonitor, System } from '@diskgraph/qmp'
import { describe, expect, it } from 'vitest'
import { parseDrive } from '../src/drives/drive-options.ts'
import { Drives } from '../src/drives/drives.ts'
import { parseEmulatorLine } from '../src/emulator/command-line.ts'
import { type Globals, parseGlobals } from '../src/emulator/device-options.ts'
import { runHuman } from '../src/emulator/human/commands.ts'
import { defaultDrives, machineOf } from '../src/emulator/machine.ts'
import { MachineClock } from '../src/emulator/machine-clock.ts'
import { modelNames } from '../src/emulator/model-kinds.ts'
import { propertyHelp } from '../src/emulator/model-properties.ts'
import { Models } from '../src/emulator/models.ts'
import { QemuIo } from '../src/emulator/qemu-io.ts'
import { answerQtest } from '../src/emulator/qtest.ts'

const emulator = peer('qemu-system-x86_64', { describe, it })

/** A machine with the drives that `values` of `-drive` say, and what it tells. */
function machine(work: (machine: Machine) => Promise<void>, ...values: readonly string[]): Promise<void> {
  return machineWith(new Map(), work, ...values)
}

/** As {@link machine}, with options for all devices of a kind. */
async function machineWith(
  globals: Globals,
  work: (machine: Machine) => Promise<void>,
  ...values: readonly string[]
): Promise<void> {
  await using graph = new Graph({ drivers: [nullCo] })
  await using devices = new DeviceTable(graph)
  const drives = new Drives(graph, devices)
  const system = new System({ graph, devices })
  const models = new Models(graph, devices, drives, globals, (node) => system.jobs.cancelOn(node))
  const qemuIo = new QemuIo(graph, devices, 'dg-emulator', new AbortController().signal)
  const monitor = createMonitor(system)
  const events: BlockEvent[] = []
  graph.onEvent((event) => events.push(event))
  for (const value of values) await models.addForDrive(await drives.add(parseDrive(value, { interface: 'ide' })))
  const say = (line: string): Promise<string> => runHuman({ graph, devices, drives, models, qemuIo, monitor }, line)
  await work({ graph, devices, models, jobs: system.jobs, events, say })
  monitor.close()
}

interface Machine {
  readonly graph: Graph
  readonly devices: DeviceTable
  readonly models: Models
  readonly jobs: JobTable
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

  it('what would change disks or privileges is refused, as nothing would do it', () => {
    expect(() => parseEmulatorLine(['-loadvm', 'a'])).toThrow('-loadvm: there is no such option here')
    expect(() => parseEmulatorLine(['-incoming', 'tcp:0:1'])).toThrow('-incoming tcp:0:1: there is no migration here')
    expect(parseEmulatorLine(['-incoming', 'defer'])).toHaveLength(1)
  })

  emulator.it('has all options of QEMU, with a value where QEMU takes one', () => {
    const help = execFileSync(emulator.path ?? '', ['-help'], { encoding: 'utf8' })
    const options = help
      .split('\n')
      .filter((line) => line.startsWith('-'))
      .flatMap((line) => {
        const [, names = '', value = ''] = /^(-\S+(?: or -\S+)?) ?(.*)/.exec(line) ?? []
        // One space goes before a value, several before an explanation; two lines are not aligned so.
        return names
          .split(/ or |\//)
          .map((name) => ({ name: name.replace(/^--/, '-'), isPlain: /^ +(?! |file )|^$|^enable /.test(value) }))
      })
    expect(options.length).toBeGreaterThan(150)
    const differs: string[] = []
    for (const { name, isPlain } of options) {
      try {
        if (parseEmulatorLine(isPlain ? [name] : [name, 'defer']).length !== 1) differs.push(name)
      } catch (error) {
        if (!/no such option here/.test(String(error))) differs.push(`${name}: ${String(error)}`)
      }
    }
    expect(differs).toEqual([])
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

  emulator.it('the properties of each kind are those of QEMU', () => {
    const names = (text: string): string[] => text.split('\n').flatMap((line) => /^ {2}([^=]+)/.exec(line)?.[1] ?? [])
    // A PC has no channels of an s390.
    for (const kind of modelNames.filter((name) => !name.endsWith('-ccw'))) {
      const told = execFileSync(emulator.path ?? '', ['-device', `${kind},help`], { encoding: 'utf8' })
      expect(names(propertyHelp(kind)).sort(), kind).toEqual(names(told).sort())
    }
  })

  // Texts of QEMU 7.2.
  it('a property that a device does not have is refused, before its drive is looked for', () =>
    machine(async ({ models, devices }) => {
      await expect(models.add({ driver: 'virtio-blk', drive: 'nosuch', bar: 'x' })).rejects.toThrow(
        "Property 'virtio-blk-pci.bar' not found",
      )
      await expect(models.add({ driver: 'pci-bridge', chasis_nr: 1 })).rejects.toMatchObject({
        message: "Property 'pci-bridge.chasis_nr' not found",
        hint: "did you mean 'chassis_nr'?",
      })
      expect(models.list()).toEqual([])
      expect([...devices]).toEqual([])
    }))

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

  it('jobs of a drive are cancelled when the drive goes with its device', () =>
    machine(async ({ graph, models, jobs }) => {
      await graph.addNode({ driver: 'null-co', size: '1M', nodeName: 'copy' })
      await models.add({ driver: 'virtio-scsi', id: 's' })
      await models.add({ driver: 'scsi-hd', id: 'hd', drive: 'd0' })
      const job = await startMirror(jobs, { device: 'n', target: 'copy', sync: 'none' })
      await models.remove('hd')
      await expect(job.finished).rejects.toMatchObject({ code: 'ECANCELED' })
    }, 'if=none,id=d0,driver=null-co,size=1M,node-name=n'))

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

describe('a floppy drive', () => {
  const disk = 'if=none,driver=null-co,size=720k,node-name=n'

  it('has no tray: its medium comes and goes without one, and no event tells of it', () =>
    machine(async ({ models, devices, events }) => {
      await models.add({ driver: 'floppy', drive: 'none0', id: 'f' })
      await devices.require({ id: 'f' }).removeMedium()
      expect(devices.require({ id: 'f' }).medium).toBeUndefined()
      expect(events).toEqual([])
    }, disk))

  // Texts of QEMU 7.2.
  it.each([
    ['unit=0', 'Floppy unit 0 is in use'],
    ['unit=2', "Can't create floppy unit 2, bus supports only 2 units"],
    [
      'drive=floppy0',
      "Drive 'floppy0' is already in use because it has been automatically connected to another device",
    ],
    ['drive-type=99', "Parameter 'drive-type' does not accept value '99'"],
    ['logical_block_size=4096', 'logical_block_size > physical_block_size not supported'],
    ['physical_block_size=1024', 'Physical and logical block size must be 512 for floppy'],
  ])('beside the first is refused with %s, and nothing is left of it', (option, message) =>
    machine(async ({ models, say }) => {
      const [name = '', value] = option.split('=')
      await expect(models.add({ driver: 'floppy', [name]: value })).rejects.toThrow(message)
      await models.add({ driver: 'floppy' })
      expect(await say('info qtree')).toContain('unit = 1 (0x1)')
    }, 'if=floppy'),
  )

  it('is told of with its bus, and its type is that of the medium', () =>
    machine(
      async ({ models, say }) => {
        await models.add({ driver: 'floppy', drive: 'none0' })
        const tree = (await say('info qtree')).replaceAll('\r\n', '\n')
        const floppy = (unit: number, drive: string, type: string): string =>
          `              dev: floppy, id ""
                unit = ${unit} (0x${unit})
                drive = "${drive}"
                backend_defaults = "auto"
                logical_block_size = 512 (512 B)
                physical_block_size = 512 (512 B)
                min_io_size = 0 (0 B)
                opt_io_size = 0 (0 B)
                discard_granularity = 4294967295 (4 GiB)
                write-cache = "auto"
                share-rw = false
                account-invalid = "auto"
                account-failed = "auto"
                drive-type = "${type}"
`
        expect(tree).toContain(
          `            bus: floppy-bus.0\n              type floppy-bus\n${floppy(1, 'none0', '144')}${floppy(0, 'floppy0', '288')}`,
        )
      },
      disk,
      'if=floppy',
    ))
})

describe('options for all devices of a kind', () => {
  it('hold for each, and are named by what they make fail', () =>
    machineWith(
      parseGlobals(['floppy.drive=none0']),
      async ({ models, devices }) => {
        await models.add({ driver: 'floppy', id: 'f' })
        expect(devices.require({ id: 'f' }).id).toBe('none0')
        await expect(models.add({ driver: 'floppy' })).rejects.toThrow(
          "can't apply global floppy.drive=none0: Drive 'none0' is already in use by another device",
        )
        await expect(models.add({ driver: 'floppy', drive: 'none1' })).rejects.toThrow(
          '-global floppy.drive=... conflicts with drive=none1',
        )
      },
      'if=none',
    ))

  it('are spelled in one of two ways, and refused otherwise', () => {
    const both = parseGlobals(['a.b=c.d=e', 'driver=a,property=f,value=g'])
    expect(both).toEqual(new Map([['a', { b: 'c.d=e', f: 'g' }]]))
    expect(() => parseGlobals(['driver=a,property=b'])).toThrow("Parameter 'value' is missing")
    expect(() => parseGlobals(['driver=a,foo=b'])).toThrow("Invalid parameter 'foo'")
  })
})

describe('the drives that a machine has by itself', () => {
  // As QEMU 7.2 has them.
  it.each([
    ['', ['if=ide,index=2,media=cdrom', 'if=floppy,index=0', 'if=sd,index=0']],
    ['-machine q35', ['if=ide,index=2,media=cdrom', 'if=sd,index=0']],
    ['-M none', []],
    ['-nodefaults', []],
    ['-device scsi-hd,drive=d', ['if=floppy,index=0', 'if=sd,index=0']],
    ['-global floppy.unit=1', ['if=ide,index=2,media=cdrom', 'if=sd,index=0']],
    ['-device virtio-blk,drive=d', ['if=ide,index=2,media=cdrom', 'if=floppy,index=0', 'if=sd,index=0']],
  ])('with %s are these', (line, drives) => {
    const options = parseEmulatorLine(line.split(' ').filter((word) => word !== ''))
    expect(defaultDrives(machineOf(options), options)).toEqual(drives)
  })

  // Names and texts of QEMU 7.2.
  it('are named by their places, and one place takes one drive', async () => {
    await using graph = new Graph({ drivers: [nullCo] })
    await using devices = new DeviceTable(graph)
    const places = machineOf(parseEmulatorLine(['-M', 'q35']))
    const drives = new Drives(graph, devices, places)
    const add = async (value: string) => (await drives.add(parseDrive(value, { interface: 'ide' }))).device.id
    expect(await add('media=cdrom,index=2')).toBe('ide2-cd0')
    await expect(add('media=cdrom,index=2')).rejects.toThrow('drive with bus=2, unit=0 (index=2) exists')
    await expect(add('index=6')).rejects.toThrow('machine type does not support if=ide,bus=6,unit=0')
    await expect(add('if=floppy,index=2')).rejects.toThrow('machine type does not support if=floppy,bus=0,unit=2')
    expect(await add('if=none,id=x')).toBe('x')
    expect(await add('if=none')).toBe('none1')
  })
})

describe('a property of a device', () => {
  const none = 'if=none,driver=null-co,node-name=n'

  it('that names its drive shows another node when it is set', () =>
    machine(async ({ graph, models, devices }) => {
      await models.add({ driver: 'ide-hd', drive: 'none0', id: 'hd' })
      await graph.addNode({ driver: 'null-co', nodeName: 'm' })
      for (const path of ['/machine/peripheral/hd', 'hd']) {
        expect(models.get(path, 'drive')).toBe('none0')
        expect(models.get(path, 'type')).toBe('ide-hd')
      }
      await models.set('/machine/peripheral/hd', 'drive', 'm')
      expect(devices.find('none0')?.node?.name).toBe('m')
      expect(models.properties('hd')).toContainEqual(expect.objectContaining({ name: 'drive', type: 'str' }))
    }, none))

  it('is refused that is none, stays as it is, or names no node', () =>
    machine(async ({ models }) => {
      await models.add({ driver: 'ide-hd', drive: 'n', id: 'hd' })
      expect(models.has('hd/drive')).toBe(false)
      expect(() => models.get('hd', 'foo')).toThrow("Property 'ide-hd.foo' not found")
      const set = (name: string, value: unknown) => models.set('hd', name, value)
      await expect(set('foo', 1)).rejects.toThrow("Property 'ide-hd.foo' not found")
      await expect(set('share-rw', true)).rejects.toThrow(
        "Attempt to set property 'share-rw' on device 'hd' (type 'ide-hd') after it was realized",
      )
      await expect(set('drive', 1)).rejects.toThrow("Invalid parameter type for 'drive', expected: string")
      await expect(set('drive', 'zz')).rejects.toThrow("Cannot find device='' nor node-name='zz'")
    }, none))
})

describe('the clock of the machine', () => {
  it('is stepped forward, and wakes in order who waits for less', () => {
    const clock = new MachineClock()
    const woken: string[] = []
    const cancel = clock.timeout(1e6, () => woken.push('never'))
    clock.timeout(3e6, () => woken.push('late'))
    clock.timeout(2e6, () => woken.push('early'))
    cancel()
    const begin = clock.now()
    clock.step(1e6)
    expect(woken).toEqual([])
    clock.step(undefined)
    expect(woken).toEqual(['early'])
    clock.step(2e6)
    expect(woken).toEqual(['early', 'late'])
    expect(clock.now() - begin).toBeGreaterThanOrEqual(4e6 - 1e3)
  })
})

describe('the line of a test to the machine', () => {
  it('is answered, and steps the clock', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qtest-'))
    const path = join(folder, 'socket')
    const server = createServer()
    const connected = once(server, 'connection')
    await new Promise<void>((resolve) => server.listen(path, resolve))
    const clock = new MachineClock()
    const woken = new Promise<void>((resolve) => clock.timeout(1e6, resolve))
    const log: string[] = []
    const end = await answerQtest(`unix:path=${path},other=1`, clock, (line) => log.push(line))
    try {
      const [socket] = (await connected) as [Socket]
      socket.setEncoding('utf8')
      const ask = async (line: string): Promise<unknown> => {
        socket.write(line)
        return (await once(socket, 'data'))[0]
      }
      expect(await ask('irq_intercept_in a\n')).toBe('OK\n')
      expect(await ask(`clock_step ${1e12}\n`)).toMatch(/^OK \d{13,}\n$/)
      await woken
    } finally {
      end()
      server.close()
      await rm(folder, { recursive: true })
    }
  })
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
