/** Descriptors that clients hand over on a unix socket, and what stands for a file then. The words are QEMU's. */
import { closeSync, constants, openSync, readdirSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { TempFolder } from '@diskgraph/driver-testkit'
import { native } from '@diskgraph/posix'
import { connectTo, createMonitor, type Listener, listen, type Monitor, System, serveClient } from '@diskgraph/qmp'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sendDescriptors } from './scm-rights.ts'

let folder: TempFolder
let graph: Graph
let system: System
let monitor: Monitor
let listener: Listener
let socket: Socket
let before: number
let text = ''
let arrived: () => void = () => undefined
const opened: number[] = []
const served: Promise<void>[] = []

beforeEach(async () => {
  folder = await TempFolder.make()
  writeFileSync(folder.file('image'), new Uint8Array(65536))
  graph = new Graph({ drivers: [file] })
  system = new System({ graph })
  monitor = createMonitor(system)
  const path = folder.file('qmp.sock')
  listener = await listen({ path }, (client) => served.push(serveClient(monitor, client, client)))
  before = readdirSync('/proc/self/fd').length
  socket = await connectTo({ path })
  socket.on('data', (chunk) => {
    text += chunk
    arrived()
  })
  socket.resume()
  await answer()
  await ask('qmp_capabilities')
})

afterEach(async () => {
  socket.destroy()
  await Promise.all(served.splice(0))
  await system.close()
  await graph.close()
  for (const fd of opened.splice(0)) closeSync(fd)
  expect(readdirSync('/proc/self/fd').length).toBe(before)
  monitor.close()
  await listener.close()
  await folder.remove()
})

async function answer(): Promise<{ return?: unknown; error?: { desc: string } }> {
  while (!text.includes('\n')) {
    await new Promise<void>((resolve) => {
      arrived = resolve
    })
  }
  const line = text.slice(0, text.indexOf('\n'))
  text = text.slice(line.length + 1)
  return JSON.parse(line)
}

async function ask(command: string, args: object = {}, fds: readonly number[] = []): Promise<unknown> {
  const line = `${JSON.stringify({ execute: command, arguments: args })}\n`
  if (fds.length > 0) sendDescriptors(socket, line, fds)
  else socket.write(line)
  const { error, return: result } = await answer()
  return error?.desc ?? result
}

function open(flags: number): number {
  const fd = openSync(folder.file('image'), flags)
  opened.push(fd)
  return fd
}

const missing = 'No file descriptor supplied via SCM_RIGHTS'

describe.skipIf(native() === null)('descriptors that a client sends', () => {
  it('are kept by name until they are closed', async () => {
    const fd = open(constants.O_RDWR)
    expect(await ask('getfd', { fdname: 'a' })).toBe(missing)
    expect(await ask('getfd', { fdname: '0a' }, [fd])).toBe(
      "Parameter 'fdname' expects a name not starting with a digit",
    )
    expect(await ask('getfd', { fdname: 'a' }, [fd])).toEqual({})
    expect(await ask('getfd', { fdname: 'a' }, [fd])).toEqual({})
    expect(await ask('closefd', { fdname: 'a' })).toEqual({})
    expect(await ask('closefd', { fdname: 'a' })).toBe("File descriptor named 'a' not found")
  })

  it('may come before the command', async () => {
    sendDescriptors(socket, ' ', [open(constants.O_RDWR)])
    expect(await ask('getfd', { fdname: 'a' })).toEqual({})
  })

  it('are the first of those that came last; no other one stays open', async () => {
    const [one, two] = [open(constants.O_RDWR), open(constants.O_RDONLY)]
    sendDescriptors(socket, ' ', [one, two])
    expect(await ask('add-fd', { 'fdset-id': 3 }, [two, one])).toMatchObject({ 'fdset-id': 3 })
    expect(await ask('add-fd', { 'fdset-id': 3 })).toBe(missing)
  })

  it('are told by set', async () => {
    const fd = open(constants.O_RDWR)
    await ask('add-fd', { 'fdset-id': 1, opaque: 'x' }, [fd])
    await ask('add-fd', { 'fdset-id': 1 }, [fd])
    expect(await ask('add-fd', {}, [fd])).toMatchObject({ 'fdset-id': 0 })
    expect(await ask('add-fd', { 'fdset-id': -1 }, [fd])).toBe("Parameter 'fdset-id' expects a non-negative value")
    const number = expect.any(Number)
    expect(await ask('query-fdsets')).toEqual([
      { fds: [{ fd: number, opaque: 'x' }, { fd: number }], 'fdset-id': 1 },
      { fds: [{ fd: number }], 'fdset-id': 0 },
    ])
    expect(await ask('remove-fd', { 'fdset-id': 9 })).toBe("File descriptor named 'fdset-id:9' not found")
    expect(await ask('remove-fd', { 'fdset-id': 0, fd: 99 })).toBe(
      "File descriptor named 'fdset-id:0, fd:99' not found",
    )
    await ask('remove-fd', { 'fdset-id': 1 })
    await ask('remove-fd', { 'fdset-id': 0 })
    expect(await ask('query-fdsets')).toEqual([])
  })

  it('stand for a file with their access modes, as long as it is open', async () => {
    const add = (name: string, filename: string, readOnly = false): Promise<unknown> =>
      ask('blockdev-add', { driver: 'file', 'node-name': name, filename, 'read-only': readOnly })
    await ask('add-fd', { 'fdset-id': 1 }, [open(constants.O_RDONLY)])
    const refused = 'Could not dup FD for /dev/fdset/1 flags 2: Permission denied'
    expect(await add('n', '/dev/fdset/1')).toBe(refused)
    expect(await add('n', '/dev/fdset/7')).toBe('Could not dup FD for /dev/fdset/7 flags 2: No such file or directory')
    expect(await add('n', '/dev/fdset/x')).toBe('Could not parse fdset /dev/fdset/x')
    expect(await add('n', '/dev/fdset/1', true)).toEqual({})
    const reopen = { driver: 'file', 'node-name': 'n', filename: '/dev/fdset/1', 'read-only': false }
    expect(await ask('blockdev-reopen', { options: [reopen] })).toBe(refused)
    await ask('add-fd', { 'fdset-id': 1 }, [open(constants.O_RDWR)])
    expect(await ask('blockdev-reopen', { options: [reopen] })).toEqual({})
    await ask('remove-fd', { 'fdset-id': 1 })
    expect(await ask('query-fdsets')).toEqual([{ fds: [], 'fdset-id': 1 }])
    {
      await using disk = await graph.attach('n')
      await disk.write(0, new Uint8Array([1]))
    }
    await ask('blockdev-del', { 'node-name': 'n' })
    expect(await ask('query-fdsets')).toEqual([])
  })

  it('are refused where writes would go to the end of the file', async () => {
    await ask('add-fd', { 'fdset-id': 1 }, [open(constants.O_RDWR | constants.O_APPEND)])
    const options = { driver: 'file', 'node-name': 'n', filename: '/dev/fdset/1' }
    expect(await ask('blockdev-add', options)).toBe(
      'Could not dup FD for /dev/fdset/1 flags 2: the descriptor was opened with O_APPEND, so that writes would go to the end',
    )
    expect(await ask('blockdev-add', { ...options, 'read-only': true })).toContain('Permission denied')
    await ask('remove-fd', { 'fdset-id': 1 })
    expect([...graph.nodes]).toEqual([])
  })

  it('are closed when the client goes without having used them', async () => {
    sendDescriptors(socket, ' ', [open(constants.O_RDWR)])
    expect(await ask('query-fdsets')).toEqual([])
  })
})

it('says of a name that nothing was sent for', async () => {
  const addr = { type: 'fd', data: { str: 'nosuch' } }
  expect(await ask('nbd-server-start', { addr })).toBe("File descriptor named 'nosuch' has not been found")
})
