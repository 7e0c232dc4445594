import { once } from 'node:events'
import { renameSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { TempFolder } from '@diskgraph/driver-testkit'
import { connectSocket, listen, NbdServer } from '@diskgraph/nbd'
import { describe, expect, it } from 'vitest'
import { ManualClock } from './manual-clock.ts'
import { Served } from './served.ts'

describe('a unix socket', () => {
  it('is for its owner alone', async () => {
    await using served = await Served.start()
    expect(statSync(served.path).mode & 0o777).toBe(0o600)
  })

  it('at which another server answers is not taken away from it', async () => {
    await using served = await Served.start()
    await using second = new NbdServer(served.graph)
    await expect(listen(second, { path: served.path })).rejects.toMatchObject({
      code: 'EBUSY',
      message: `Failed to bind socket to ${served.path}: Address already in use`,
    })
    await using client = await served.client()
    expect(client.size).toBe(1048576)
  })

  it('that a dead server has left is replaced, and a file is not', async () => {
    await using folder = await TempFolder.make()
    await using graph = new Graph({ drivers: [memory] })
    await using server = new NbdServer(graph)
    const path = folder.file('socket')
    await leaveSocket(path)
    await listen(server, { path })
    writeFileSync(folder.file('note'), 'a note')
    await expect(listen(server, { path: folder.file('note') })).rejects.toMatchObject({ code: 'EEXIST' })
  })

  it('whose queue is full lets clients wait for room, for as long as they may', async () => {
    await using folder = await TempFolder.make()
    const path = folder.file('socket')
    const server = createServer((socket) => socket.end())
    await once(server.listen({ path, backlog: 1 }), 'listening')
    // All of them ask before the server has a turn.
    const patient = Array.from({ length: 20 }, () => connectSocket({ path }))
    const hasty = connectSocket({ path }, AbortSignal.timeout(1))
    await expect(hasty).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    for (const socket of await Promise.all(patient)) socket.destroy()
    server.close()
  })
})

it('a server that is closed while it begins to listen does not listen', async () => {
  await using folder = await TempFolder.make()
  await using graph = new Graph({ drivers: [memory] })
  const server = new NbdServer(graph)
  const path = folder.file('socket')
  const listening = listen(server, { path })
  await server.close()
  await expect(listening).rejects.toMatchObject({ code: 'ENODEV' })
  await using next = new NbdServer(graph)
  await listen(next, { path })
})

it('an export that is added while the server is closed is not left behind', async () => {
  await using graph = new Graph({ drivers: [memory] })
  const node = await graph.addNode({ driver: 'memory', size: 512, nodeName: 'disk' })
  const server = new NbdServer(graph)
  const adding = server.exports.add(node)
  await server.close()
  await adding.catch(() => {})
  expect([...server.exports]).toEqual([])
  await graph.remove(node)
})

/** Leaves a socket's file behind, as a server that was killed does. */
async function leaveSocket(path: string): Promise<void> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(`${path}.old`, resolve))
  renameSync(`${path}.old`, path)
  await new Promise((resolve) => server.close(resolve))
}

it('a client that ends the negotiation is let go by the clock of the graph', async () => {
  await using served = await Served.start({}, {}, 65536, new ManualClock())
  const socket = connect(served.path)
  await once(socket, 'data')
  // Its flags, and the option NBD_OPT_ABORT; it keeps its side open.
  socket.write(Uint8Array.of(0, 0, 0, 3, ...Buffer.from('IHAVEOPT'), 0, 0, 0, 2, 0, 0, 0, 0))
  await once(socket, 'end')
  expect(served.messages).toEqual([])
})
