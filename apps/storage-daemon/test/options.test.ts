/** Options of the daemon that are its own: a file of options, a log, metrics, drives, help. Runs the sources. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { Graph } from '@diskgraph/core'
import { DeviceTable } from '@diskgraph/devices'
import { nullCo } from '@diskgraph/driver-null'
import { raw } from '@diskgraph/driver-raw'
import { TempFolder } from '@diskgraph/driver-testkit'
import { connectSocket, NbdClient } from '@diskgraph/nbd'
import { createMonitor, System } from '@diskgraph/qmp'
import { QmpClient } from '@diskgraph/qmp/client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parseCommandLine } from '../src/command-line.ts'
import { readConfig } from '../src/config.ts'
import { mustBeFree } from '../src/demo/demo.ts'
import { parseDrive } from '../src/drives/drive-options.ts'
import { helpText as emulatorHelp } from '../src/emulator/help.ts'
import { optionHelp } from '../src/option-help.ts'
import { jsonLog, plainLog } from '../src/telemetry/log.ts'
import { serveMetrics } from '../src/telemetry/metrics.ts'
import { startSource } from './source-process.ts'

let folder: TempFolder
const started: ChildProcess[] = []

beforeEach(async () => {
  folder = await TempFolder.make()
})

afterEach(async () => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
  await folder.remove()
})

/** A daemon that runs, by the file that it writes its number to. */
async function start(pidfile: string, ...words: string[]): Promise<ChildProcess> {
  const child = startSource('daemon.ts', words, ['ignore', 'ignore', 'inherit'])
  started.push(child)
  while (!existsSync(pidfile) || statSync(pidfile).size === 0) {
    if (child.exitCode !== null) throw new Error(`the daemon ended with code ${child.exitCode}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return child
}

it('takes options from a file, serves what they say, and tells of it in a log', async () => {
  const [pid, path, log] = ['pid', 'qmp.sock', 'log'].map((name) => folder.file(name)) as [string, string, string]
  const nbd = folder.file('nbd.sock')
  const config = {
    log: { level: 'info', file: log },
    blockdev: [{ driver: 'null-co', 'node-name': 'n', size: 4096 }],
    drive: 'driver=null-co,id=d0,node-name=m',
    chardev: { backend: 'socket', id: 'c', path, server: true, wait: false },
    monitor: [{ chardev: 'c' }],
    'nbd-server': { addr: { type: 'unix', path: nbd } },
    // By the name of the drive.
    export: { type: 'nbd', id: 'e', 'node-name': 'd0' },
    pidfile: pid,
  }
  writeFileSync(folder.file('config.json'), JSON.stringify(config))
  const child = await start(pid, '--config', folder.file('config.json'))
  {
    using client = await QmpClient.connect({ connect: { path } })
    expect((await client.execute('query-named-block-nodes')).map((node) => node['node-name'])).toEqual(['m', 'n'])
    expect(await client.execute('query-block')).toMatchObject([{ device: 'd0', inserted: { 'node-name': 'm' } }])
    const filename = `unix:${path},server=on`
    expect(await client.execute('query-chardev')).toEqual([{ label: 'c', 'frontend-open': true, filename }])
    await client.execute('object-add', { 'qom-type': 'secret', id: 's', data: 'passw0rd' })
    await client.execute('stop')
    const other = await NbdClient.connect({ connect: () => connectSocket({ path: nbd }), exportName: 'd0' })
    await other.close()
    const left = (): boolean => readFileSync(log, 'utf8').includes('NBD client left')
    await vi.waitFor(() => expect(left()).toBe(true), { interval: 10 })
  }
  child.kill('SIGTERM')
  expect(await once(child, 'close')).toEqual([0, null])
  const text = readFileSync(log, 'utf8')
  expect(text).not.toContain('passw0rd')
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const ready = lines.findIndex(({ msg }) => msg === 'ready')
  expect(lines.map(({ msg, command, node, export: id }) => [msg, command ?? node ?? id])).toEqual([
    ['export added', 'm'],
    ['ready', undefined],
    ['QMP command', 'object-add'],
    ['QMP command', 'stop'],
    ['NBD client came', 'e'],
    ['NBD client left', 'e'],
    ['BLOCK_EXPORT_DELETED', undefined],
    ['ended', undefined],
  ])
  expect(lines[ready]).toMatchObject({
    level: 30,
    pid: child.pid,
    program: 'dg-storage-daemon',
    time: expect.any(Number),
  })
  expect(statSync(log).mode & 0o777).toBe(0o600)
})

it('lives on without a monitor or a server, and takes its file away at the end', async () => {
  const pid = folder.file('pid')
  const child = await start(pid, '--pidfile', pid)
  expect(child.exitCode).toBe(null)
  child.kill('SIGTERM')
  expect(await once(child, 'close')).toEqual([0, null])
  expect(existsSync(pid)).toBe(false)
})

describe('--config', () => {
  it.each([
    ['[]', 'holds no object'],
    ['{', 'is no JSON'],
    ['{"blockdv": []}', "blockdv: there is no such member; did you mean 'blockdev'?"],
    ['{"disks": []}', 'disks: there is no such member; known are add-fd, blockdev, '],
    ['{"daemonize": true}', 'daemonize: there is no such member'],
    ['{"allow-tcp": 1}', 'allow-tcp: true or false is expected'],
    ['{"blockdev": [{}, 5.5, true]}', 'blockdev[2]: an object or a text is expected'],
    ['{"chardev": [{"backend": null}]}', 'chardev[0].backend: a text, a number, true or false is expected'],
    ['{"__proto__": 1}', '__proto__: there is no such member'],
    [
      '{"blockdev": {"driver": "a"}, "blockdev": []}',
      'blockdev stands there twice; an option that may be given several',
    ],
    ['{"log": {"level": "info", "l\\u0065vel": "warn"}}', 'level stands there twice'],
    ['\uFEFF{}', 'begins with a byte order mark: save it as UTF-8 without one'],
    ['{"pidfile": 5}', 'pidfile: a text is expected'],
    ['{"pidfile": ["a", "b"]}', 'pidfile: a text is expected'],
  ])('refuses %s and names the place', (text, message) => {
    writeFileSync(folder.file('c.json'), text)
    expect(() => readConfig(folder.file('c.json'))).toThrow(message)
  })

  it('says what is wrong with a file that is not there, or is too long', () => {
    expect(() => readConfig(folder.file('c'))).toThrow(
      `Could not open '${folder.file('c')}': No such file or directory`,
    )
    writeFileSync(folder.file('c'), ' '.repeat(2 ** 20 + 1))
    expect(() => readConfig(folder.file('c'))).toThrow('is longer than 1048576 bytes')
  })

  it('takes a member of the same name in two objects, and texts that look like members', () => {
    const config = { blockdev: [{ driver: 'a' }, { driver: 'b', x: '{"driver": 1, "driver": 2' }] }
    writeFileSync(folder.file('c'), JSON.stringify(config))
    expect(readConfig(folder.file('c'))).toHaveLength(2)
  })

  it('takes members in the order in which they refer to each other, those of a list in its own', () => {
    const names = ['export', 'nbd-server', 'blockdev', 'monitor', 'chardev', 'object']
    const config = Object.fromEntries(names.map((name) => [name, ['second', 'first']]))
    writeFileSync(folder.file('c'), JSON.stringify(config))
    const given = readConfig(folder.file('c'))
    expect(given.map(({ name }) => name)).toEqual(
      ['object', 'chardev', 'blockdev', 'nbd-server', 'export', 'monitor'].flatMap((name) => [name, name]),
    )
    expect(given.map(({ value }) => value).slice(0, 4)).toEqual(['second', 'first', 'second', 'first'])
  })

  it('doubles commas where values are texts', () => {
    const config = {
      object: [{ id: 'a', 'qom-type': 'iothread' }],
      chardev: { id: 'c', path: 'a,b' },
      'allow-tcp': true,
    }
    writeFileSync(folder.file('c'), JSON.stringify(config))
    expect(readConfig(folder.file('c')).map(({ name, value }) => [name, value])).toEqual([
      ['object', '{"id":"a","qom-type":"iothread"}'],
      ['chardev', 'id=c,path=a,,b'],
      ['allow-tcp', ''],
    ])
  })
})

describe('--log', () => {
  it.each([
    ['nosuch/log', "Could not open 'nosuch/log': No such file or directory"],
    ['level=loud', "there is no level 'loud'"],
    ['info,fil=x', "Invalid parameter 'fil'"],
    ['', 'a level (trace, debug, info, warn, error, fatal) or a file is expected'],
    ['verbose', "there is no level 'verbose': one of trace, debug, info, warn, error, fatal, or a file (./verbose)"],
  ])('refuses %j', async (text, message) => {
    await expect(jsonLog('p', text)).rejects.toThrow(message)
  })

  it('holds the address of the console without its secret, which a person reads beside it', async () => {
    const told = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    const log = await jsonLog('p', folder.file('log'))
    log.console('http://127.0.0.1:8040/#secret')
    log.close()
    plainLog('p').console('http://127.0.0.1:8040/#secret')
    expect(told.mock.calls.map(([text]) => text)).toEqual(Array(2).fill('console: http://127.0.0.1:8040/#secret\n'))
    told.mockRestore()
    const [line = ''] = readFileSync(folder.file('log'), 'utf8').split('\n')
    expect(JSON.parse(line)).toMatchObject({ msg: 'console', url: 'http://127.0.0.1:8040/' })
    expect(line).not.toContain('secret')
  })

  it.skipIf(!existsSync('/dev/full'))('goes on when there is no room for it', async () => {
    const log = await jsonLog('p', '/dev/full')
    for (let i = 0; i < 3; i++) log.info('something')
    await new Promise((resolve) => setTimeout(resolve, 50))
    log.close()
  })
})

describe('--metrics', () => {
  it('tells of nodes, devices and jobs, to whom asks for that and nothing else', async () => {
    await using graph = new Graph({ drivers: [nullCo, raw] })
    const system = new System({ graph, devices: new DeviceTable(graph) })
    const monitor = createMonitor(system)
    await monitor.execute('blockdev-add', { driver: 'null-co', id: 'd0', size: 4096 })
    await system.devices?.find('d0')?.medium?.write(0, new Uint8Array(512))
    const file = { driver: 'raw', file: { driver: 'null-co', 'node-name': 'below' }, 'node-name': 'n' }
    await monitor.execute('blockdev-add', file)
    const own = await graph.attach('n')
    await own.read(0, new Uint8Array(512))
    const server = await serveMetrics(system, '127.0.0.1:0', false)
    const response = await fetch(server.url)
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0.0.4/)
    const text = await response.text()
    expect(text).toContain('diskgraph_device_operations_total{device="d0",operation="write"} 1\n')
    expect(text).toContain('diskgraph_device_bytes_total{device="d0",operation="write"} 512\n')
    expect(text).toContain('diskgraph_node_operations_total{node="n",operation="read"} 1\n')
    // Nobody counts what another node asks of it: no figure is better than a wrong one.
    expect(text).toContain('diskgraph_node_size_bytes{node="below",')
    expect(text).not.toContain('operations_total{node="below"')
    await own.close()
    expect(text).toContain('# TYPE diskgraph_node_size_bytes gauge\n')
    expect(await (await fetch(server.url)).text()).toContain(
      'diskgraph_device_bytes_total{device="d0",operation="write"} 512\n',
    )
    expect((await fetch(server.url, { method: 'POST' })).status).toBe(405)
    expect((await fetch(server.url.replace('/metrics', '/'))).status).toBe(404)
    await expect(serveMetrics(system, new URL(server.url).host, false)).rejects.toThrow('Address already in use')
    await expect(serveMetrics(system, '0.0.0.0:0', false)).rejects.toThrow("refusing to listen at '0.0.0.0'")
    await expect(serveMetrics(system, 'x', false)).rejects.toThrow('HOST:PORT is expected')
    await server.close()
    await system.close()
    monitor.close()
  })
})

describe('help', () => {
  const helpOf = (...words: string[]): Promise<string | undefined> => optionHelp(parseCommandLine(words))

  it('lists objects, their properties, and kinds of character devices', async () => {
    expect(await helpOf('--object', 'help')).toContain('List of user creatable objects:\n  authz-list\n')
    expect(await helpOf('--object', 'nosuch,help')).toContain('List of user creatable objects:\n')
    expect(await helpOf('--object', 'secret,help')).toContain('secret options:\n  data=<string>\n  file=<string>\n')
    expect(await helpOf('--chardev', 'help,id=x')).toContain('  socket\n')
    expect(await helpOf('--blockdev', 'driver=null-co')).toBe(undefined)
    expect(await helpOf('--blockdev', '{"driver": "help"}')).toBe(undefined)
  })

  it('lists drivers, and the options of one', async () => {
    expect(await helpOf('--drive', 'help')).toMatch(/^ {2}--drive OPTIONS.*\ndrive options:\n(?: {2}\S+=<.*\n)+$/)
    expect(await helpOf('--blockdev', 'help')).toMatch(/^ {2}--blockdev OPTIONS.*\nDrivers: blkdebug .*qcow2/s)
    expect(await helpOf('--blockdev', 'qcow2,help')).toMatch(/^qcow2 options:\n(?: {2}\S+=<.*\n)+$/)
    expect(await helpOf('--blockdev', 'qcow2,help')).toMatch(
      / {2}encrypt\.format=<aes\|luks> .*\n {2}encrypt\.key-secret=<string> /,
    )
    expect(await helpOf('--blockdev', 'driver=null-co,help')).toContain('  size=<size>  ')
    await expect(helpOf('--blockdev', 'nosuch,help')).rejects.toThrow("--blockdev nosuch,help: Unknown driver 'nosuch'")
  })

  it.each([
    ['export', ['type=<BlockExportType>, required', 'node-name=<string>, required', 'writable=<bool>']],
    ['nbd-server', ['addr=<SocketAddress>, required', 'tls-creds=<string>']],
    ['monitor', ['chardev=<string>, required', 'pretty=<bool>']],
    ['drive', ['--drive OPTIONS']],
    ['metrics', ['--metrics HOST:PORT']],
    ['log', ['level=LEVEL,file=FILE']],
    ['config', ['--config FILE']],
    ['console', ['--console PORT']],
  ])('says what --%s takes, and of no other option', async (name, told) => {
    const text = (await helpOf(`--${name}`, 'help')) as string
    for (const one of told) expect(text).toContain(`${one}`)
    expect(new Set([...text.matchAll(/^ {2}--([\w-]+)/gm)].map(([, option]) => option))).toEqual(new Set([name]))
  })
})

// Texts of QEMU 7.2, of which the lists are longer.
it('the emulator tells of objects, character devices and descriptors', async () => {
  expect(await emulatorHelp('p', 'object', 'secret,help')).toMatch(
    /^secret options:\n {2}data=<string>\n {2}file=<string>\n/,
  )
  expect(await emulatorHelp('p', 'chardev', 'help')).toMatch(/^Available chardev backend types: \n {2}/)
  expect(await emulatorHelp('p', 'chardev', 'socket,help')).toMatch(
    /^chardev options:\n {2}backend=<str>\n(?: {2}.*\n)* {2}server=<bool \(on\/off\)>\n/,
  )
  expect(await emulatorHelp('p', 'add-fd', 'help')).toMatch(
    /^add-fd options:\n {2}fd=<num>\n {2}opaque=<str>\n {2}set=<num>\n$/,
  )
})

it('the emulator tells of drivers and their options, devices and their properties', async () => {
  expect(await emulatorHelp('p', 'drive', 'help')).toMatch(/^drive options:\n(?: {2}\S+=<.*\n)+$/)
  expect(await emulatorHelp('p', 'drive', '')).toContain('Supported formats: ')
  expect(await emulatorHelp('p', 'blockdev', 'help')).toContain('Drivers: blkdebug ')
  expect(await emulatorHelp('p', 'blockdev', 'null-co,help')).toContain('  size=<size>  ')
  expect(await emulatorHelp('p', 'device', 'help')).toContain('name "scsi-hd"\n')
  expect(await emulatorHelp('p', 'device', 'virtio-blk,help')).toMatch(/^virtio-blk-pci options:\n {2}account-failed\n/)
  await expect(emulatorHelp('p', 'device', 'nosuch,help')).rejects.toThrow("Device 'nosuch' not found")
})

describe('stats-intervals of --drive', () => {
  it('are a list of seconds', () => {
    const text = 'driver=null-co,stats-intervals.0=60,stats-intervals.1=3600'
    expect(parseDrive(text, { interface: 'none' }).device.intervals).toEqual([60, 3600])
  })

  it.each([
    ['stats-intervals.0=x', 'Invalid interval length: x'],
    ['stats-intervals.0=1,stats-intervals.2=2', 'Invalid option stats-intervals.2'],
  ])('refuse %s', (text, message) => {
    expect(() => parseDrive(`driver=null-co,${text}`, { interface: 'none' })).toThrow(message)
  })
})

it('a demonstration finds a busy port before it writes anything', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await expect(mustBeFree(port)).rejects.toThrow(`port ${port} is in use`)
  server.close()
  await once(server, 'close')
  await mustBeFree(port)
})

it('a limit of --drive with a suffix is refused as QEMU does, and what is due is told', () => {
  expect(() => parseDrive('driver=null-co,bps=1M', { interface: 'none' })).toThrow(
    expect.objectContaining({
      message: "Parameter 'throttling.bps-total' expects a number",
      hint: 'it is a number of bytes or operations per second without a suffix, such as 1048576',
    }),
  )
  expect(parseDrive('driver=null-co,bps=0x10', { interface: 'none' }).limits.bpsTotal).toBe(16)
})
