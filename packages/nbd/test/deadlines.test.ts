import { connectSocket, listExports, NbdClient } from '@diskgraph/nbd'
import { describe, expect, it } from 'vitest'
import { chunk, negotiate, nextRequest, ScriptServer, words } from './script-server.ts'

const silent = (): void => {}

describe('a server that says nothing', () => {
  it('is given up when it is to be connected to', async () => {
    await using server = await ScriptServer.start(silent)
    await expect(server.client({ handshakeTimeout: 50 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      message: 'the server has not answered within 0.05 s',
    })
  })

  it('is given up when its exports are to be listed', async () => {
    await using server = await ScriptServer.start(silent)
    const stream = await connectSocket({ path: server.path })
    await expect(listExports(stream, { handshakeTimeout: 50 })).rejects.toMatchObject({ code: 'ETIMEDOUT' })
    expect(stream.destroyed).toBe(true)
  })

  it('is tried again for as long as an opening may take', async () => {
    await using server = await ScriptServer.start((peer, index) => (index === 0 ? undefined : negotiate(peer)))
    await using client = await server.client({ handshakeTimeout: 50, openTimeout: 20 })
    expect(client.size).toBeGreaterThan(0)
    expect(server.connections).toBe(2)
  })

  it('is tried again when a connection was lost, and requests are answered when it speaks', async () => {
    await using server = await ScriptServer.start(async (peer, index) => {
      if (index === 1) return
      await negotiate(peer)
      const { cookie } = await nextRequest(peer)
      if (index === 0) peer.socket.destroy()
      else peer.send(chunk(cookie, 2, words([8, 0], [4, 512])))
    })
    await using client = await server.client({ handshakeTimeout: 50, reconnectDelay: 2 ** 32 - 1 })
    await client.read(0, new Uint8Array(512))
    expect(server.connections).toBe(3)
  })
})

it('a connection that comes when nobody waits for it any more is closed', async () => {
  await using server = await ScriptServer.start(silent)
  let arrive = silent
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const stream = await connectSocket({ path: server.path })
  const connecting = NbdClient.connect({ connect: () => arrived.then(() => stream), handshakeTimeout: 20 })
  await expect(connecting).rejects.toMatchObject({ code: 'ETIMEDOUT' })
  arrive()
  await arrived
  await Promise.resolve()
  expect(stream.destroyed).toBe(true)
})
