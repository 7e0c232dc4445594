/**
 * One stack of several storages, as a user would build it: a vote of three over a file, an export of the real qemu-nbd, and
 * an overlay over an image on a web server. It is read and written from TypeScript, by the tools and by the daemon, by
 * real clients too, and goes on without the leg that is killed.
 */
import { type ChildProcess, execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, existsSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { http } from '@diskgraph/driver-http'
import { nbd } from '@diskgraph/driver-nbd'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { quorum } from '@diskgraph/driver-quorum'
import { raw } from '@diskgraph/driver-raw'
import { answers, peer, ServerProcess, TempFolder } from '@diskgraph/driver-testkit'
import { QmpClient } from '@diskgraph/qmp/client'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TestServer } from '../../../packages/driver-http/test/server.ts'
import { BuiltPrograms } from '../../cli/test/built-programs.ts'
import { startSource } from './source-process.ts'

const execute = promisify(execFile)
const content = randomBytes(2 ** 21)
const qemu = peer('qemu-nbd', { describe, it })

let folder: TempFolder
let web: TestServer
let leg: ServerProcess
let daemon: ChildProcess | undefined
let programs: BuiltPrograms

beforeAll(() => {
  programs = new BuiltPrograms('three-legs')
})

afterAll(() => programs.remove())

beforeEach(async () => {
  folder = await TempFolder.make()
  for (const name of ['a.raw', 'b.raw', 'expected.raw']) writeFileSync(folder.file(name), content)
  web = await TestServer.start({ content })
  const backing = ['-b', `json:{"driver":"raw","file":{"driver":"http","url":"${web.url}"}}`, '-F', 'raw']
  await execute('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', ...backing, folder.file('c.qcow2'), '2M'])
  const words = ['-t', '-e', '4', '-f', 'raw', '-k', folder.file('leg'), folder.file('b.raw')]
  leg = await ServerProcess.start('qemu-nbd', words, folder.file('leg'))
})

afterEach(async () => {
  daemon?.kill('SIGKILL')
  daemon = undefined
  await leg.end()
  await web.close()
  await folder.remove()
})

/** The stack, as TypeScript and QMP take it. */
const stack = () =>
  ({
    driver: 'quorum',
    voteThreshold: 2,
    children: [
      { driver: 'raw', file: { driver: 'file', filename: folder.file('a.raw') } },
      { driver: 'raw', file: { driver: 'nbd', server: { type: 'unix', path: folder.file('leg') } } },
      {
        driver: 'qcow2',
        file: { driver: 'file', filename: folder.file('c.qcow2') },
        backing: { driver: 'raw', file: { driver: 'http', url: web.url } },
      },
    ],
  }) as const

/** The same on a command line. */
const words = () =>
  [
    'driver=quorum,vote-threshold=2',
    `children.0.driver=raw,children.0.file.driver=file,children.0.file.filename=${folder.file('a.raw')}`,
    `children.1.driver=raw,children.1.file.driver=nbd,children.1.file.server.type=unix`,
    `children.1.file.server.path=${folder.file('leg')}`,
    `children.2.driver=qcow2,children.2.file.driver=file,children.2.file.filename=${folder.file('c.qcow2')}`,
    `children.2.backing.driver=raw,children.2.backing.file.driver=http,children.2.backing.file.url=${web.url}`,
  ].join(',')

qemu.describe('a vote of a file, an export of qemu-nbd, and an overlay on a web server', () => {
  it('is one typed stack, and reads and writes without the leg that is killed', async () => {
    await using graph = new Graph({ drivers: [file, raw, qcow2, nbd, http, quorum] })
    const bad: unknown[] = []
    graph.onEvent(({ event }) => bad.push(event))
    const disk = await graph.add(stack())
    const bytes = new Uint8Array(content)
    const buf = new Uint8Array(content.length)
    for (const [at, isKilled] of [
      [512, false],
      [70_000, true],
    ] as const) {
      if (isKilled) await leg.end()
      const written = randomBytes(100_000)
      bytes.set(written, at)
      await disk.write(at, written)
      await disk.flush()
      await disk.read(0, buf)
      expect(Buffer.compare(buf, bytes)).toBe(0)
      expect(bad.includes('QUORUM_REPORT_BAD')).toBe(isKilled)
    }
  })

  it('is what the tools take by --image-opts, and goes on when the leg is killed meanwhile', async () => {
    const pattern = new Uint8Array(65536).fill(0x5a)
    const expected = Buffer.from(content)
    expected.set(pattern, 4096)
    writeFileSync(folder.file('expected.raw'), expected)
    await tool('dg-io', '--image-opts', '-c', 'write -P 0x5a 4096 65536', words())
    await tool('dg-img', 'convert', '--image-opts', '-O', 'raw', words(), folder.file('first.raw'))
    await execute('cmp', [folder.file('first.raw'), folder.file('expected.raw')])
    const slow = tool('dg-img', 'convert', '-r', '1M', '--image-opts', '-O', 'raw', words(), folder.file('second.raw'))
    // It has begun when it has made its target.
    while (!existsSync(folder.file('second.raw'))) await new Promise((resolve) => setTimeout(resolve, 10))
    await leg.end()
    await slow
    await execute('cmp', [folder.file('second.raw'), folder.file('expected.raw')])
  })

  it('is served by the daemon to real clients, with and without the leg', async () => {
    daemon = startSource('daemon.ts', [
      ...['--chardev', `socket,id=monitor,path=${folder.file('qmp')},server=on,wait=off`],
      ...['--monitor', 'chardev=monitor', '--nbd-server', `addr.type=unix,addr.path=${folder.file('nbd')}`],
    ])
    while (!(await answers(folder.file('qmp')))) await new Promise((resolve) => setTimeout(resolve, 20))
    using client = await QmpClient.connect({ connect: { path: folder.file('qmp') } })
    await client.execute('blockdev-add', {
      'node-name': 'disk',
      driver: 'quorum',
      'vote-threshold': 2,
      children: stack().children,
    })
    await client.execute('block-export-add', { type: 'nbd', id: 'one', 'node-name': 'disk', writable: true })
    const served = `nbd+unix:///disk?socket=${folder.file('nbd')}`
    const compare = () =>
      execute('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', served, folder.file('expected.raw')])
    await execute('qemu-io', ['-f', 'raw', '-c', 'write -P 1 8192 4096', served])
    await execute('qemu-io', ['-f', 'raw', '-c', 'write -P 1 8192 4096', folder.file('expected.raw')])
    await compare()
    copyFileSync(folder.file('expected.raw'), folder.file('before.raw'))
    await leg.end()
    await compare()
    await execute('qemu-io', ['-f', 'raw', '-c', 'write -P 2 65536 4096', '-c', 'flush', served])
    await execute('qemu-io', ['-f', 'raw', '-c', 'write -P 2 65536 4096', folder.file('expected.raw')])
    await compare()
    await client.execute('quit')
    await once(daemon, 'close')
    // What the leg had when it was killed is what all had; the file has the rest.
    await execute('cmp', [folder.file('b.raw'), folder.file('before.raw')])
    await execute('cmp', [folder.file('a.raw'), folder.file('expected.raw')])
  })
})

function tool(name: string, ...args: string[]): Promise<unknown> {
  return execute(process.execPath, [programs.script(name), ...args])
}
