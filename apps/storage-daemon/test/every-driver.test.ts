/**
 * The drivers of QAPI's block core as it was in QEMU 2.1, each added over QMP with every option that the schema gives
 * it, spelled as the schema spells them, and read.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Graph } from '@diskgraph/core'
import { DeviceTable } from '@diskgraph/devices'
import { createMonitor, System } from '@diskgraph/qmp'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { bochsImage } from '../../../packages/driver-bochs/test/image.ts'
import { cloopImage } from '../../../packages/driver-cloop/test/image.ts'
import { dmgImage, usualPieces } from '../../../packages/driver-dmg/test/image.ts'
import { FtpServer } from '../../../packages/driver-ftp/test/server.ts'
import { TestServer } from '../../../packages/driver-http/test/server.ts'
import { TftpServer } from '../../../packages/driver-tftp/test/server.ts'
import { LocalClient } from '../../../packages/qmp/test/local-client.ts'
import { drivers } from '../src/driver-table.ts'

interface Block {
  readonly enums: { readonly BlockdevDriver: readonly string[] }
  readonly structs: Record<string, { readonly base?: string; readonly members: Record<string, unknown> }>
  readonly unions: { readonly BlockdevOptions: { readonly variants: Record<string, string> } }
}

const schemaFile = new URL('../../../packages/qapi/test/block-core-2.1.json', import.meta.url)
const seed: Block = JSON.parse(readFileSync(schemaFile, 'utf8'))
const names = seed.enums.BlockdevDriver

const folder = mkdtempSync(join(tmpdir(), 'every-driver-'))
const at = (name: string): string => join(folder, name)
const size = 2 ** 20
/** What the images hold that can be written. */
const content = Uint8Array.from({ length: size }, (_, i) => (Math.floor(i / 512) % 250) + 1)
const file = (name: string): object => ({ driver: 'file', filename: at(name) })
const rawImage = (name: string): object => ({ driver: 'raw', file: file(name) })

/** A loop device, where this machine lets us have one. */
const device = ((): string | undefined => {
  writeFileSync(at('device'), content)
  const made = spawnSync('losetup', ['--find', '--show', at('device')], { encoding: 'utf8' })
  return made.status === 0 ? made.stdout.trim() : undefined
})()

let plainServer: TestServer
let tlsServer: TestServer
let ftpServer: FtpServer
let ftpsServer: FtpServer
let tftpServer: TftpServer
let graph: Graph
const ends: (() => Promise<void>)[] = []

beforeAll(async () => {
  const fixture = (name: string): Buffer =>
    readFileSync(fileURLToPath(new URL(`../../../packages/driver-http/test/fixtures/${name}.pem`, import.meta.url)))
  plainServer = await TestServer.start()
  const tls = { cert: fixture('good'), key: fixture('server-key') }
  tlsServer = await TestServer.start({ tls })
  ftpServer = await FtpServer.start({ content })
  tftpServer = await TftpServer.start(content)
  ftpsServer = await FtpServer.start({ content, tls, implicit: true })
  for (const name of ['raw', 'base', 'copy', 'third']) writeFileSync(at(name), content)
  mkdirSync(at('shown'))
  writeFileSync(at('bochs'), bochsImage().bytes)
  writeFileSync(at('cloop'), cloopImage(4, 4096).bytes)
  writeFileSync(at('dmg'), dmgImage(usualPieces(8), 'property list').bytes)
  writeFileSync(at('rules'), '[inject-error]\nevent = "l1_update"\nerrno = "5"\n')
  await using making = new Graph({ drivers })
  for (const driver of ['cow', 'parallels', 'qcow', 'qcow2', 'qed', 'vdi', 'vhdx', 'vmdk', 'vpc']) {
    await making.createUnchecked({ driver: 'file', filename: at(driver), size: 0 })
    await making.createUnchecked({ driver, size, file: file(driver) })
    const disk = await making.addUnchecked({ driver, file: file(driver) })
    await disk.write(0, content.subarray(0, 65536))
    await disk.close()
  }
})

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

afterAll(async () => {
  if (device !== undefined) spawnSync('losetup', ['--detach', device])
  await plainServer.close()
  await tlsServer.close()
  await ftpServer.close()
  await ftpsServer.close()
  await tftpServer.close()
  rmSync(folder, { recursive: true })
})

/** The members that a struct of the schema has, those of its bases included; those that may be left out without `*`. */
function membersOf(struct: string): string[] {
  const { base, members } = seed.structs[struct] ?? { members: {} }
  const own = Object.keys(members).map((name) => name.replace(/^\*/, ''))
  return base === undefined ? own : [...membersOf(base), ...own]
}

/** The first two sectors of a directory as a floppy disk of 1.44 MB: what every boot sector says, and the FAT of no files. */
const shownDirectory = ((): Uint8Array => {
  const sectors = new Uint8Array(1024)
  sectors.set(Buffer.from('eb3e904d5357494e342e310002100100020002400bf001001200020000000000', 'hex'))
  sectors.set(Buffer.from('00000000000029fd1abefa51454d55205656464154204641543132202020', 'hex'), 32)
  sectors.set([0x55, 0xaa], 510)
  sectors.set([0xf0, 0xff, 0xff], 512)
  return sectors
})()

interface Case {
  readonly options: () => object
  /** What the first sectors read as; those of the disk itself by default. */
  readonly holds?: () => Uint8Array
  readonly readOnly?: boolean
}

const onFile = (name: string, more: Partial<Case> = {}): Case => ({ options: () => ({ file: file(name) }), ...more })
const withBacking = (name: string, more: object = {}): Case => ({
  options: () => ({ file: file(name), backing: rawImage('base'), ...more }),
})

const cases: Readonly<Record<string, Case>> = {
  file: { options: () => ({ filename: at('raw') }) },
  host_device: { options: () => ({ filename: device }) },
  host_cdrom: { options: () => ({ filename: device }), readOnly: true },
  host_floppy: { options: () => ({ filename: device }) },
  http: { options: () => ({ filename: plainServer.url }), holds: () => plainServer.content, readOnly: true },
  // The schema has no word for the authority of a test.
  https: {
    options: () => ({ filename: tlsServer.url, sslverify: false }),
    holds: () => tlsServer.content,
    readOnly: true,
  },
  ftp: { options: () => ({ filename: ftpServer.url }), readOnly: true },
  ftps: { options: () => ({ filename: ftpsServer.url, sslverify: false }), readOnly: true },
  tftp: { options: () => ({ filename: tftpServer.url }), readOnly: true },
  blkdebug: {
    options: () => ({
      image: file('raw'),
      config: at('rules'),
      align: 512,
      'inject-error': [{ event: 'l2_update', state: 2, errno: 5, sector: 7, once: true, immediately: true }],
      'set-state': [{ event: 'l2_load', state: 1, new_state: 2 }],
    }),
  },
  blkverify: { options: () => ({ test: rawImage('raw'), raw: file('copy') }) },
  bochs: onFile('bochs', { holds: () => bochsImage().content, readOnly: true }),
  cloop: onFile('cloop', { holds: () => cloopImage(4, 4096).content, readOnly: true }),
  dmg: onFile('dmg', { holds: () => usualPieces(8)[0]?.[0]?.content as Uint8Array, readOnly: true }),
  cow: withBacking('cow'),
  parallels: onFile('parallels'),
  qcow: withBacking('qcow'),
  qcow2: withBacking('qcow2', {
    'lazy-refcounts': true,
    'pass-discard-request': true,
    'pass-discard-snapshot': true,
    'pass-discard-other': false,
  }),
  vvfat: {
    options: () => ({ dir: at('shown'), 'fat-type': 12, floppy: true, rw: false }),
    holds: () => shownDirectory,
    readOnly: true,
  },
  qed: withBacking('qed'),
  raw: onFile('raw'),
  vdi: onFile('vdi'),
  vhdx: onFile('vhdx'),
  vmdk: withBacking('vmdk'),
  vpc: onFile('vpc'),
  quorum: {
    options: () => ({
      blkverify: false,
      children: [rawImage('raw'), rawImage('copy'), rawImage('third')],
      'vote-threshold': 2,
      'rewrite-corrupted': true,
    }),
  },
}

/** What every definition may say, and QEMU 2.1 meant for the device above the node, too. */
const ofAll = {
  id: 'drive',
  'node-name': 'node',
  discard: 'unmap',
  cache: { writeback: true, direct: false, 'no-flush': false },
  aio: 'threads',
  rerror: 'report',
  werror: 'enospc',
  'detect-zeroes': 'on',
}

async function connect(): Promise<LocalClient> {
  graph = new Graph({ drivers })
  const devices = new DeviceTable(graph)
  const monitor = createMonitor(new System({ graph, devices }))
  ends.push(async () => {
    monitor.close()
    await devices[Symbol.asyncDispose]()
    await graph.close()
  })
  const client = new LocalClient(monitor)
  await client.execute('qmp_capabilities')
  return client
}

describe('of the drivers of QEMU 2.1', () => {
  it('each is opened here', () => {
    const present = new Set(drivers.map(({ name }) => name))
    expect(names).toHaveLength(26)
    expect(names.filter((name) => !present.has(name))).toEqual([])
    expect(Object.keys(cases).sort()).toEqual([...names].sort())
  })

  for (const [name, { options, holds, readOnly = false }] of Object.entries(cases)) {
    const lacksDevice = name.startsWith('host_') && device === undefined
    const why = lacksDevice ? ' (skipped: no loop device can be had, which takes root)' : ''
    it.skipIf(lacksDevice)(`${name} is opened with every option of the schema, and read${why}`, async () => {
      const client = await connect()
      const wanted = { driver: name, ...ofAll, 'read-only': readOnly, ...options() }
      const known = [
        ...membersOf('BlockdevOptionsBase'),
        ...membersOf(seed.unions.BlockdevOptions.variants[name] ?? ''),
      ]
      expect(known.filter((member) => !(member in wanted))).toEqual([])
      expect(await client.execute('blockdev-add', { options: wanted })).toEqual({})
      const nodes = (await client.execute('query-named-block-nodes')) as Record<string, unknown>[]
      const own = nodes.find((node) => node['node-name'] === 'node')
      expect(own).toMatchObject({ drv: name, ro: readOnly, detect_zeroes: 'on' })
      const buf = new Uint8Array(1024)
      const disk = await graph.attach('node')
      await disk.read(0, buf)
      expect(buf).toEqual((holds?.() ?? content).subarray(0, buf.length))
      await disk.close()
    })
  }
})
