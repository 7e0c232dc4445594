import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { answers, ServerProcess } from '@diskgraph/driver-testkit'
import { connectSocket, NbdClient } from '@diskgraph/nbd'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { BuiltPrograms } from './built-programs.ts'

let programs: BuiltPrograms
let folder = ''
let socket = ''
let started: ServerProcess[] = []

beforeAll(() => {
  programs = new BuiltPrograms('nbd-program-test')
})

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nbd-program-'))
  socket = join(folder, 'socket')
  expect(run('dg-img', ['create', '-q', '-f', 'qcow2', 'disk.qcow2', '4M']).status).toBe(0)
  return async () => {
    for (const server of started) await server.end()
    started = []
    rmSync(folder, { recursive: true, force: true })
  }
})

afterAll(() => programs.remove())

function run(program: string, words: readonly string[]) {
  return spawnSync(process.execPath, [programs.script(program), ...words], { cwd: folder, encoding: 'utf8' })
}

/** A dg-nbd on the socket. */
async function start(...words: readonly string[]): Promise<ServerProcess> {
  const all = [programs.script('dg-nbd'), '-f', 'qcow2', '-k', socket, ...words, 'disk.qcow2']
  const server = await ServerProcess.start(process.execPath, all, socket, folder)
  started.push(server)
  return server
}

const client = (): Promise<NbdClient> => NbdClient.connect({ connect: () => connectSocket({ path: socket }) })

describe('dg-nbd', () => {
  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    '%s ends it in order, with all that was written',
    async (signal) => {
      const server = await start('-t')
      await using writer = await client()
      await writer.write(65_536, new Uint8Array(65_536).fill(7))
      expect(await server.end(signal)).toBe(0)
      expect(server.said).toBe('')
      expect(existsSync(socket)).toBe(false)
      expect(run('dg-io', ['-r', '-f', 'qcow2', '-c', 'read -P 7 64k 64k', 'disk.qcow2']).stdout).toContain(
        'read 65536/65536',
      )
      expect(run('dg-img', ['check', 'disk.qcow2']).status).toBe(0)
    },
  )

  test('ends when its last client has left, not when somebody only looks', async () => {
    const server = await start('-e', '2')
    for (let i = 0; i < 3; i++) expect(await answers(socket)).toBe(true)
    const [first, second] = [await client(), await client()]
    await first.close()
    await second.write(0, new Uint8Array(512).fill(1))
    const closed = once(server.child, 'close')
    await second.close()
    expect(await closed).toEqual([0, null])
  })

  test('with -t stays when its last client has left', async () => {
    const server = await start('-t')
    await (await client()).close()
    await (await client()).close()
    expect(await server.end('SIGTERM')).toBe(0)
  })

  test('with --fork answers when the command ends, and its file names the process that a signal ends', async () => {
    const words = ['--fork', '-t', '-f', 'qcow2', '-k', socket, '--pid-file', 'pid', 'disk.qcow2']
    expect(run('dg-nbd', words)).toMatchObject({ status: 0, stderr: '' })
    const pid = Number(readFileSync(join(folder, 'pid'), 'utf8'))
    try {
      const writer = await client()
      await writer.write(0, new Uint8Array(512).fill(3))
      process.kill(pid, 'SIGHUP')
      while (existsSync(socket)) await new Promise((resolve) => setTimeout(resolve, 20))
      await expect(writer.read(0, new Uint8Array(1))).rejects.toMatchObject({ code: 'EIO' })
    } catch (error) {
      process.kill(pid, 'SIGKILL')
      throw error
    }
  })

  test('does not take the socket of another server away', async () => {
    await start('-t')
    expect(run('dg-img', ['create', '-q', 'other.img', '1M']).status).toBe(0)
    const second = run('dg-nbd', ['-f', 'raw', '-k', socket, 'other.img'])
    expect(second).toMatchObject({ status: 1, stderr: expect.stringContaining('Address already in use') })
    await using reader = await client()
    await reader.read(0, new Uint8Array(512))
  })

  test.skipIf(process.platform !== 'linux')(
    'a thousand silent clients take 20 MB, and go when their time is over',
    async () => {
      const server = await start('-t', '-e', '0', '--handshake-limit', '3')
      for (let i = 0; i < 20; i++) await (await client()).close()
      const before = residentBytes(server)
      const silent = await Promise.all(Array.from({ length: 1000 }, () => greeted()))
      expect(residentBytes(server) - before).toBeLessThan(20e6)
      await using reader = await client()
      await reader.read(0, new Uint8Array(512))
      await Promise.all(silent.map((one) => one.destroyed || once(one, 'close')))
      await reader.read(0, new Uint8Array(512))
    },
  )
})

/** A connection on which the server has spoken. */
async function greeted(): Promise<Socket> {
  const one = await connectSocket({ path: socket })
  one.on('error', () => {})
  await once(one, 'data')
  return one
}

function residentBytes({ child }: ServerProcess): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))
  return Number(match?.[1]) * 1024
}
