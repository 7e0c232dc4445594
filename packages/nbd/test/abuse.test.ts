import { connect, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { Peer, words } from './script-server.ts'
import { Served } from './served.ts'

const option = (number: number, data: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([Buffer.from('IHAVEOPT'), words([4, number], [4, data.length]), data])

const request = (command: number, offset: number | bigint, length: number, flags = 0, magic = 0x25609513): Buffer =>
  words([4, magic], [2, flags], [2, command], [8, 7], [8, offset], [4, length])

async function connected(served: Served): Promise<Peer> {
  const socket = connect({ path: served.path })
  const peer = new Peer(socket)
  await peer.read(18)
  return peer
}

/** A client that has chosen the export, without structured replies. */
async function chosen(served: Served): Promise<Peer> {
  const peer = await connected(served)
  peer.send(words([4, 3]), option(1))
  await peer.read(10)
  return peer
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => (socket.destroyed ? resolve() : socket.once('close', () => resolve())))
}

describe('a server drops a client that', () => {
  const bytes: Readonly<Record<string, Buffer>> = {
    'sets unknown flags': words([4, 4]),
    'has another magic number': Buffer.concat([words([4, 3]), Buffer.alloc(16)]),
    'announces an option of 4 GiB': Buffer.concat([
      words([4, 3]),
      Buffer.from('IHAVEOPT'),
      words([4, 3], [4, 0xffffffff]),
    ]),
    'asks for an export that is not there by the option without errors': Buffer.concat([
      words([4, 3]),
      option(1, Buffer.from('nope')),
    ]),
    'has a name of 4,097 bytes': Buffer.concat([words([4, 3]), option(1, Buffer.alloc(4097, 97))]),
    'speaks HTTP': Buffer.from('POST / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
  }
  for (const [what, sent] of Object.entries(bytes)) {
    it(what, async () => {
      await using served = await Served.start()
      const peer = await connected(served)
      peer.send(sent)
      await closed(peer.socket)
      expect(served.messages).toHaveLength(1)
    })
  }

  it('says nothing for as long as it has to choose', async () => {
    await using served = await Served.start({ handshakeTimeout: 50 })
    const peer = await connected(served)
    await closed(peer.socket)
  })

  it('sends a request that cannot be told from the next one', async () => {
    await using served = await Served.start()
    const peer = await chosen(served)
    peer.send(request(0, 0, 1, 0, 0x11111111))
    expect((await peer.read(16)).readUInt32BE(4)).toBe(22)
    await closed(peer.socket)
  })

  it('sends a payload of more than 32 MiB', async () => {
    await using served = await Served.start()
    const peer = await chosen(served)
    peer.send(request(1, 0, 33554433))
    expect((await peer.read(16)).readUInt32BE(4)).toBe(22)
    await closed(peer.socket)
  })
})

describe('a server refuses, and goes on with a client', () => {
  const requests: Readonly<Record<string, Buffer>> = {
    'that reads past the end': request(0, 1048576, 1),
    'that reads around the end of numbers': request(0, 2n ** 64n - 512n, 512),
    'that reads more than 32 MiB': request(0, 0, 64 * 1024 * 1024),
    'with an unknown command': request(77, 0, 0),
    'with an unknown flag': request(0, 0, 1, 64),
    'that writes past the end': Buffer.concat([request(1, 1048575, 2), Buffer.alloc(2)]),
    'that asks for status without a context': request(7, 0, 512),
  }
  for (const [what, sent] of Object.entries(requests)) {
    it(what, async () => {
      await using served = await Served.start()
      const peer = await chosen(served)
      peer.send(sent)
      expect([...(await peer.read(16)).subarray(4)]).toEqual([0, 0, 0, 22, 0, 0, 0, 0, 0, 0, 0, 7])
      peer.send(request(3, 0, 0))
      expect((await peer.read(16)).readUInt32BE(4)).toBe(0)
      peer.socket.destroy()
    })
  }
})

describe('a server', () => {
  it('takes requests that come byte by byte', async () => {
    await using served = await Served.start()
    const peer = await chosen(served)
    const all = Buffer.concat([request(1, 100, 5), Buffer.from('hello'), request(0, 99, 7)])
    for (const byte of all) {
      peer.send([byte])
      await new Promise((resolve) => setImmediate(resolve))
    }
    await peer.read(16)
    expect((await peer.read(23)).subarray(16).toString()).toBe('\0hello\0')
    peer.socket.destroy()
  })

  it('lets others in when one leaves', async () => {
    await using served = await Served.start({ maxConnections: 1 })
    const first = await connected(served)
    const waiting = connected(served)
    expect(served.server.connections).toBe(1)
    first.socket.destroy()
    const second = await waiting
    second.socket.destroy()
  })

  it('stops at once, with a hundred clients that say nothing', async () => {
    const served = await Served.start({ maxConnections: 0 })
    const peers = await Promise.all(Array.from({ length: 100 }, () => connected(served)))
    const begin = performance.now()
    await served[Symbol.asyncDispose]()
    expect(performance.now() - begin).toBeLessThan(1000)
    await Promise.all(peers.map(({ socket }) => closed(socket)))
  })

  it('takes no more requests of a client that reads no answers, and serves others meanwhile', async () => {
    await using served = await Served.start({}, {}, 33554432)
    const greedy = await chosen(served)
    greedy.socket.pause()
    for (let i = 0; i < 1000; i++) greedy.send(request(0, 0, 33554432))
    await using client = await served.client()
    await client.write(0, new Uint8Array(100_000))
    await client.read(0, new Uint8Array(100_000))
    expect(served.graph.find('disk')?.size).toBe(33554432)
    const [root] = [...served.server.exports].map((one) => one.root)
    expect(root?.statistics.read.totals().operations).toBeLessThan(5)
    greedy.socket.destroy()
  })

  it('leaves nothing behind of clients that vanish in the middle of a request', async () => {
    await using served = await Served.start()
    for (let length = 1; length < 40; length++) {
      const peer = await chosen(served)
      peer.send(Buffer.concat([request(1, 0, 12), Buffer.alloc(12)]).subarray(0, length))
      peer.socket.destroy()
    }
    while (served.server.connections > 0) await new Promise((resolve) => setImmediate(resolve))
    await served.server.exports.remove('')
  })
})
