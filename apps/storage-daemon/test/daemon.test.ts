/** The program as it is started: what it prints, where it listens, how it ends. Runs the sources. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { TempFolder } from '@diskgraph/driver-testkit'
import { addBitmap } from '@diskgraph/jobs'
import { connectSocket, NbdClient } from '@diskgraph/nbd'
import { QmpClient } from '@diskgraph/qmp/client'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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

function start(...words: string[]): ChildProcess {
  const child = startSource('daemon.ts', words)
  started.push(child)
  return child
}

async function run(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = start(...words)
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk) => {
    stdout += chunk
  })
  child.stderr?.on('data', (chunk) => {
    stderr += chunk
  })
  child.stdin?.end()
  const [code] = (await once(child, 'close')) as [number]
  return { code, stdout, stderr }
}

/** The first text that a program prints. */
async function firstOutput(child: ChildProcess): Promise<string> {
  const [chunk] = (await once(child.stdout as NonNullable<typeof child.stdout>, 'data')) as [Buffer]
  return chunk.toString()
}

describe('dg-storage-daemon', () => {
  it.each([
    [['--foo'], "unrecognized option '--foo'"],
    [['--blockdev'], "option '--blockdev' requires an argument"],
    [['--blockdev', 'driver=raw'], "--blockdev driver=raw: Parameter 'file' is missing"],
    [['--chardev', 'foo'], '--chardev foo: chardev: no id specified'],
    [['--monitor', 'x'], '--monitor x: chardev "x" not found'],
    [
      ['--chardev', 'socket,id=c,host=0.0.0.0,port=1,server=on', '--monitor', 'c'],
      "--monitor c: refusing to listen at '0.0.0.0', which others on the network reach\n--allow-tcp lets them",
    ],
    [['--drive', 'id=d', '--export', 'nbd,id=e,node-name=d'], "--export nbd,id=e,node-name=d: drive 'd' has no medium"],
    [['extra'], 'extra: Unexpected argument'],
  ])('refuses %j in the words of the real one', async (words, message) => {
    expect(await run(...words)).toEqual({ code: 1, stdout: '', stderr: `dg-storage-daemon: ${message}\n` })
  })

  it('serves QMP on standard input and output, with options in their order', async () => {
    const child = start(
      ...['--chardev', 'stdio,id=c', '--monitor', 'c'],
      ...['--blockdev', '{"driver": "null-co", "node-name": "disk", "size": 4096}'],
    )
    expect(await firstOutput(child)).toMatch(/^\{"QMP": .*"capabilities": \["oob"\]\}\}\r\n$/)
    child.stdin?.write('{"execute": "qmp_capabilities"}{"execute": "query-named-block-nodes"}{"execute": "quit"}')
    let text = ''
    child.stdout?.on('data', (chunk) => {
      text += chunk
    })
    expect(await once(child, 'close')).toEqual([0, null])
    const [, nodes, end] = text.trim().split('\r\n') as [string, string, string]
    expect(JSON.parse(nodes)).toMatchObject({ return: [{ 'node-name': 'disk' }] })
    expect(JSON.parse(end)).toEqual({ return: {} })
  })

  it('serves on a socket that is its own, keeps its number in a file, and ends with what was written on storage', async () => {
    const [path, pid, image] = [folder.file('qmp.sock'), folder.file('pid'), folder.file('disk.raw')]
    const nbd = folder.file('nbd.sock')
    const child = start(
      ...['--chardev', `socket,id=c,path=${path},server=on,wait=off`, '--monitor', 'c,pretty=on'],
      ...['--nbd-server', `addr.type=unix,addr.path=${nbd}`, '--pidfile', pid],
    )
    await whenWritten(pid)
    expect(Number(readFileSync(pid, 'utf8'))).toBe(child.pid)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    using client = await QmpClient.connect({ connect: { path } })
    const created = client.next('JOB_STATUS_CHANGE', ({ status }) => status === 'concluded')
    const options = { driver: 'file', filename: image, size: 65536 }
    await client.execute('blockdev-create', { 'job-id': 'new', options })
    await created
    await client.execute('job-dismiss', { id: 'new' })
    await client.execute('blockdev-add', { driver: 'file', filename: image, 'node-name': 'disk' })
    await client.execute('block-export-add', { type: 'nbd', id: 'e', 'node-name': 'disk', writable: true })
    expect(await client.execute('query-block-exports')).toHaveLength(1)
    child.kill('SIGTERM')
    expect(await once(child, 'close')).toEqual([0, null])
    for (const gone of [path, pid, nbd]) expect(existsSync(gone)).toBe(false)
    expect(statSync(image).size).toBe(65536)
  })

  it('ends in order however often it is asked to', async () => {
    const [path, image, nbd] = [folder.file('qmp.sock'), folder.file('disk.qcow2'), folder.file('nbd.sock')]
    {
      await using graph = new Graph({ drivers: [file, qcow2] })
      await graph.create({ driver: 'qcow2', size: 2 ** 24, file: { driver: 'file', filename: image } })
    }
    const child = start(
      ...['--blockdev', `driver=qcow2,node-name=disk,file.driver=file,file.filename=${image}`],
      ...['--chardev', `socket,id=c,path=${path},server=on,wait=off`, '--monitor', 'c'],
      ...['--nbd-server', `addr.type=unix,addr.path=${nbd}`, '--pidfile', folder.file('pid')],
      ...['--export', 'nbd,id=e,node-name=disk,writable=on'],
    )
    await whenWritten(folder.file('pid'))
    using client = await QmpClient.connect({ connect: { path } })
    const guest = await NbdClient.connect({ connect: () => connectSocket({ path: nbd }), exportName: 'disk' })
    const bytes = new Uint8Array(2 ** 20).fill(7)
    for (let at = 0; at < 2 ** 24; at += bytes.length) await guest.write(at, bytes)
    void client.execute('quit').catch(() => {})
    await client.execute('quit').catch(() => {})
    child.kill('SIGTERM')
    child.kill('SIGHUP')
    expect(await once(child, 'close')).toEqual([0, null])
    await guest.close()
    await using graph = new Graph({ drivers: [file, qcow2] })
    const disk = await graph.open(image, { readOnly: true })
    const buf = new Uint8Array(2 ** 24)
    await disk.read(0, buf)
    expect(buf.indexOf(0)).toBe(-1)
  })

  it('that was killed leaves bitmaps that it does not export: it says which, and how to go on', async () => {
    const image = folder.file('disk.qcow2')
    {
      await using graph = new Graph({ drivers: [file, qcow2] })
      await graph.create({ driver: 'qcow2', size: 65536, file: { driver: 'file', filename: image } })
      const disk = await graph.open(image)
      await addBitmap(graph, disk.node, { name: 'b0', persistent: true })
    }
    const disk = ['--blockdev', `driver=qcow2,node-name=d,file.driver=file,file.filename=${image}`]
    const nbd = ['--nbd-server', `addr.type=unix,addr.path=${folder.file('nbd.sock')}`]
    const exported = [...nbd, '--export', 'type=nbd,id=e,node-name=d,name=d,bitmaps.0=b0']
    const killed = start(...disk, '--pidfile', folder.file('pid'))
    await whenWritten(folder.file('pid'))
    killed.kill('SIGKILL')
    await once(killed, 'close')
    const refused = await run(...disk, ...exported)
    expect(refused).toMatchObject({ code: 1 })
    expect(refused.stderr.split('\n')).toEqual([
      expect.stringContaining("Bitmap 'b0' is inconsistent and cannot be used"),
      expect.stringMatching(/^Bitmap 'b0' was not stored .* Export the disk without it, or remove it/),
      '',
    ])
  })

  it('refuses to listen beyond this machine', async () => {
    const words = ['--chardev', 'socket,id=c,host=0.0.0.0,port=0,server=on,wait=off', '--monitor', 'c']
    const refused = { code: 1, stderr: expect.stringContaining("refusing to listen at '0.0.0.0'") }
    expect(await run(...words)).toMatchObject(refused)
  })

  it('goes into the background when it is ready, or says why it cannot', async () => {
    const [path, pid] = [folder.file('qmp.sock'), folder.file('pid')]
    const chardev = ['--chardev', `socket,id=c,path=${path},server=on,wait=off`, '--monitor', 'c']
    // Its output stays open: what compiles these sources for the daemon has it, too.
    expect(await once(start('--daemonize', '--pidfile', pid, ...chardev), 'exit')).toEqual([0, null])
    const number = Number(readFileSync(pid, 'utf8'))
    using client = await QmpClient.connect({ connect: { path } })
    await client.execute('quit')
    while (existsSync(`/proc/${number}/cwd`)) await new Promise((resolve) => setImmediate(resolve))
    const failed = await run('--daemonize', '--blockdev', 'driver=nope,node-name=x')
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining("does not accept value 'nope'") })
  })

  it('replaces a socket that nobody listens at, and no other one', async () => {
    const path = folder.file('qmp.sock')
    const words = ['--chardev', `socket,id=c,path=${path},server=on,wait=off`, '--monitor', 'c']
    const first = start(...words, '--pidfile', folder.file('pid'))
    await whenWritten(folder.file('pid'))
    const second = await run(...words)
    expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining('Address already in use') })
    first.kill('SIGKILL')
    await once(first, 'close')
    const third = start(...words, '--pidfile', folder.file('pid2'))
    await whenWritten(folder.file('pid2'))
    const socket = connect(path)
    const [greeting] = (await once(socket, 'data')) as [Buffer]
    expect(greeting.toString()).toContain('QMP')
    socket.destroy()
    third.kill('SIGTERM')
    expect(await once(third, 'close')).toEqual([0, null])
  })
})

/** Resolves when the file is there and has been written. */
async function whenWritten(path: string): Promise<void> {
  while (!existsSync(path) || statSync(path).size === 0) await new Promise((resolve) => setImmediate(resolve))
}
