import { isBlockError } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import {
  chunk,
  exportInfo,
  greeting,
  negotiate,
  nextRequest,
  optionReply,
  type Peer,
  ScriptServer,
  simpleReply,
  type WireRequest,
  words,
} from './script-server.ts'

/** Ways to end a connection while both sides negotiate. */
const negotiations: Readonly<Record<string, (peer: Peer) => Promise<void> | void>> = {
  'leaves at once': (peer) => void peer.socket.end(),
  'leaves in its greeting': (peer) => void peer.socket.end(greeting.subarray(0, 10)),
  'leaves behind its greeting': (peer) => void peer.socket.end(greeting),
  'cuts off behind its greeting': (peer) => {
    peer.send(greeting)
    setImmediate(() => peer.socket.destroy())
  },
  'has another magic number': (peer) => void peer.send(Buffer.from('NBDMAGICnomagic!'), words([2, 3])),
  'speaks HTTP': (peer) => void peer.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')),
  'leaves behind the flags of the client': async (peer) => {
    peer.send(greeting)
    await peer.read(4)
    peer.socket.end()
  },
  'leaves in the reply to an option': (peer) =>
    negotiate(peer, (option) => {
      peer.socket.end(optionReply(option, 1).subarray(0, 12))
      return true
    }),
  'replies with another magic number': (peer) =>
    negotiate(peer, (option) => {
      peer.send(words([8, 1], [4, option], [4, 1], [4, 0]))
      return true
    }),
  'replies to another option': (peer) =>
    negotiate(peer, (option) => {
      peer.send(optionReply(option + 1, 1))
      return true
    }),
  'replies with 4 GiB': (peer) =>
    negotiate(peer, (option) => {
      peer.send(words([8, 0x3e889045565a9n], [4, option], [4, 1], [4, 0xffffffff]))
      return true
    }),
  'never ends its replies': (peer) =>
    negotiate(peer, (option) => {
      const many = Buffer.concat(Array.from({ length: 1000 }, () => optionReply(option, 3)))
      const more = (): void => {
        if (!peer.socket.destroyed && peer.socket.write(many)) setImmediate(more)
        else peer.socket.once('drain', more)
      }
      more()
      return true
    }),
  'selects a context that was not asked for': (peer) =>
    negotiate(peer, (option) => {
      if (option !== 10) return false
      peer.send(optionReply(10, 4, Buffer.concat([words([4, 1]), Buffer.from('x:y')])), optionReply(10, 1))
      return true
    }),
  'tells nothing of the export': (peer) =>
    negotiate(peer, (option) => {
      if (option === 7) peer.send(optionReply(7, 1))
      return option === 7
    }),
  'tells too little of the export': (peer) =>
    negotiate(peer, (option) => {
      if (option === 7) peer.send(optionReply(7, 3, exportInfo.subarray(0, 8)), optionReply(7, 1))
      return option === 7
    }),
  'tells a size beyond all disks': (peer) =>
    negotiate(peer, (option) => {
      if (option === 7) {
        peer.send(optionReply(7, 3, words([2, 0], [8, 2n ** 64n - 1n], [2, 1])), optionReply(7, 1))
      }
      return option === 7
    }),
  'tells blocks of 3 bytes': (peer) =>
    negotiate(peer, (option) => {
      if (option === 7) peer.send(optionReply(7, 3, words([2, 3], [4, 3], [4, 4096], [4, 65536])), optionReply(7, 1))
      return option === 7
    }),
}

describe('a client refuses a server that', () => {
  for (const [what, behave] of Object.entries(negotiations)) {
    it(what, async () => {
      await using server = await ScriptServer.start(behave)
      await expect(server.client()).rejects.toSatisfy(isBlockError)
    })
  }
})

it('a client whose server says more than its last answer says so in a BlockError', async () => {
  for (const more of [Buffer.alloc(64, 0x61), simpleReply(Buffer.alloc(8, 7))]) {
    await using server = await ScriptServer.start((peer) =>
      negotiate(peer, (option) => {
        if (option !== 7) return false
        peer.send(Buffer.concat([optionReply(7, 3, exportInfo), optionReply(7, 1), more]))
        return true
      }),
    )
    const reading = server.client().then(async (client) => {
      await using _ = client
      await client.read(0, new Uint8Array(512))
    })
    await expect(reading).rejects.toSatisfy(isBlockError)
  }
})

const data = Buffer.alloc(4096, 0x55)
const at = (offset: number | bigint): Buffer => words([8, offset])

/** Replies to a read of 4,096 bytes at 8,192 that are none. */
const reads: Readonly<Record<string, (peer: Peer, request: WireRequest) => void>> = {
  'leaves in place of a reply': (peer) => void peer.socket.end(),
  'leaves in the header': (peer, { cookie }) => void peer.socket.end(chunk(cookie, 1, at(8192)).subarray(0, 15)),
  'leaves in the data': (peer, { cookie }) =>
    void peer.socket.end(chunk(cookie, 1, Buffer.concat([at(8192), data])).subarray(0, 1000)),
  'has another magic number': (peer) => void peer.send(Buffer.alloc(32, 1)),
  'replies to nobody': (peer) => void peer.send(chunk(Buffer.alloc(8, 9), 0)),
  'replies in the simple form': (peer, { cookie }) => void peer.send(simpleReply(cookie), data),
  'replies twice': (peer, { cookie }) => {
    const whole = chunk(cookie, 1, Buffer.concat([at(8192), data]), false)
    peer.send(whole, whole)
  },
  'sends a chunk of no known type': (peer, { cookie }) => void peer.send(chunk(cookie, 99, at(8192))),
  'sends a chunk of 4 GiB': (peer, { cookie }) => void peer.send(chunk(cookie, 1, at(8192), true, 0xffffffff)),
  'sends data before the request': (peer, { cookie }) =>
    void peer.send(chunk(cookie, 1, Buffer.concat([at(8191), data]))),
  'sends data behind the request': (peer, { cookie }) =>
    void peer.send(chunk(cookie, 1, Buffer.concat([at(8193), data]))),
  'sends data at the end of the world': (peer, { cookie }) =>
    void peer.send(chunk(cookie, 1, Buffer.concat([at(2n ** 64n - 1n), data]))),
  'sends no data': (peer, { cookie }) => void peer.send(chunk(cookie, 1, at(8192))),
  'sends too little': (peer, { cookie }) =>
    void peer.send(chunk(cookie, 1, Buffer.concat([at(8192), data.subarray(1)]))),
  'sends nothing and says that all is well': (peer, { cookie }) => void peer.send(chunk(cookie, 0)),
  'sends a hole of nothing': (peer, { cookie }) => void peer.send(chunk(cookie, 2, words([8, 8192], [4, 0]))),
  'sends a hole that is too large': (peer, { cookie }) =>
    void peer.send(chunk(cookie, 2, words([8, 8192], [4, 0xffffffff]))),
  'sends a hole of a wrong form': (peer, { cookie }) => void peer.send(chunk(cookie, 2, words([8, 8192]))),
  'sends status': (peer, { cookie }) => void peer.send(chunk(cookie, 5, words([4, 7], [4, 4096], [4, 0]))),
  'sends an end that does not end': (peer, { cookie }) => void peer.send(chunk(cookie, 0, undefined, false)),
  'sends an error of a wrong form': (peer, { cookie }) => void peer.send(chunk(cookie, 0x8001, words([4, 5]))),
  'sends an error that is none': (peer, { cookie }) => void peer.send(chunk(cookie, 0x8001, words([4, 0], [2, 0]))),
  'sends an error with a text that is too long': (peer, { cookie }) =>
    void peer.send(chunk(cookie, 0x8001, words([4, 5], [2, 100]))),
  'sends an error at an offset outside of the request': (peer, { cookie }) =>
    void peer.send(chunk(cookie, 0x8002, words([4, 5], [2, 0], [8, 5]))),
}

describe('a read fails, and touches nothing else, where a server', () => {
  for (const [what, behave] of Object.entries(reads)) {
    it(what, async () => {
      await using server = await ScriptServer.start(async (peer) => {
        await negotiate(peer)
        behave(peer, await nextRequest(peer))
      })
      await using client = await server.client()
      const memory = new Uint8Array(3 * 4096)
      await expect(client.read(8192, memory.subarray(4096, 8192))).rejects.toSatisfy(isBlockError)
      expect(memory.subarray(0, 4096)).toEqual(new Uint8Array(4096))
      expect(memory.subarray(8192)).toEqual(new Uint8Array(4096))
    })
  }
})

/** Replies to a status query of 65,536 bytes at 0 that are none. */
const statuses: Readonly<Record<string, Buffer>> = {
  'of a context that was not selected': words([4, 8], [4, 4096], [4, 0]),
  'with a run of nothing': words([4, 7], [4, 0], [4, 0]),
  'without runs': words([4, 7]),
  'of a wrong form': words([4, 7], [4, 4096]),
}

describe('a status query fails where a server sends status', () => {
  for (const [what, payload] of Object.entries(statuses)) {
    it(what, async () => {
      await using server = await ScriptServer.start(async (peer) => {
        await negotiate(peer)
        peer.send(chunk((await nextRequest(peer)).cookie, 5, payload))
      })
      await using client = await server.client()
      await expect(client.blockStatus(0, 65536)).rejects.toSatisfy(isBlockError)
    })
  }

  it('for more than was asked, which is cut', async () => {
    await using server = await ScriptServer.start(async (peer) => {
      await negotiate(peer)
      const payload = words([4, 7], [4, 4096], [4, 0], [4, 0x7fffffff], [4, 3], [4, 5], [4, 1])
      peer.send(chunk((await nextRequest(peer)).cookie, 5, payload))
    })
    await using client = await server.client()
    const status = await client.blockStatus(0, 65536)
    expect(status.get('base:allocation')).toEqual([
      { length: 4096, flags: 0 },
      { length: 61440, flags: 3 },
    ])
  })
})

describe('a client', () => {
  it('puts data together that comes in pieces, in any order', async () => {
    await using server = await ScriptServer.start(async (peer) => {
      await negotiate(peer)
      const { cookie } = await nextRequest(peer)
      const piece = (offset: number, fill: number, length: number): Buffer =>
        chunk(cookie, 1, Buffer.concat([at(offset), Buffer.alloc(length, fill)]), false)
      peer.send(piece(300, 3, 100), piece(0, 1, 100), chunk(cookie, 2, words([8, 200], [4, 100]), false))
      peer.send(piece(100, 2, 100), chunk(cookie, 0))
    })
    await using client = await server.client()
    const buf = new Uint8Array(400).fill(9)
    await client.read(0, buf)
    expect(buf).toEqual(Uint8Array.from({ length: 400 }, (_, i) => [1, 2, 0, 3][Math.floor(i / 100)] as number))
  })

  it('goes on after an error, and tells what the server said', async () => {
    await using server = await ScriptServer.start(async (peer) => {
      await negotiate(peer)
      const text = Buffer.from('disk on fire\x1b')
      const first = await nextRequest(peer)
      peer.send(chunk(first.cookie, 0x8001, Buffer.concat([words([4, 28], [2, text.length]), text])))
      peer.send(simpleReply((await nextRequest(peer)).cookie))
    })
    await using client = await server.client()
    const error: unknown = await client.write(0, new Uint8Array(5)).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'ENOSPC', message: expect.stringContaining('disk on fire\\x1b') })
    await client.flush()
  })

  it('gives the memory of an aborted read back, whatever comes later', async () => {
    const abort = new AbortController()
    let answer = (): void => {}
    await using server = await ScriptServer.start(async (peer) => {
      await negotiate(peer)
      const { cookie } = await nextRequest(peer)
      answer = () => peer.send(chunk(cookie, 1, Buffer.concat([at(0), data])))
      abort.abort()
      const second = await nextRequest(peer)
      answer()
      peer.send(chunk(second.cookie, 1, Buffer.concat([at(0), data])))
    })
    await using client = await server.client()
    const buf = new Uint8Array(4096)
    await expect(client.read(0, buf, abort.signal)).rejects.toMatchObject({ code: 'ECANCELED' })
    const other = new Uint8Array(4096)
    await client.read(0, other)
    expect(other).toEqual(new Uint8Array(data))
    expect(buf).toEqual(new Uint8Array(4096))
  })

  it('sends requests again when the connection comes back in time', async () => {
    await using server = await ScriptServer.start(async (peer, index) => {
      await negotiate(peer)
      const { cookie } = await nextRequest(peer)
      if (index === 0) peer.socket.destroy()
      else peer.send(chunk(cookie, 1, Buffer.concat([at(0), data])))
    })
    await using client = await server.client({ reconnectDelay: 10 })
    const buf = new Uint8Array(4096)
    await client.read(0, buf)
    expect(buf).toEqual(new Uint8Array(data))
    expect(server.connections).toBe(2)
  })

  it('lets requests fail at once when a connection is lost that nobody waits for', async () => {
    await using server = await ScriptServer.start(async (peer, index) => {
      await negotiate(peer)
      const { cookie } = await nextRequest(peer)
      if (index === 0) peer.socket.destroy()
      else peer.send(chunk(cookie, 1, Buffer.concat([at(0), data])))
    })
    await using client = await server.client()
    await expect(client.read(0, new Uint8Array(4096))).rejects.toMatchObject({ code: 'EIO' })
    // The next one makes an attempt, which those behind it use.
    await client.read(0, new Uint8Array(4096)).catch(() => {})
    while (server.connections < 2) await new Promise((resolve) => setImmediate(resolve))
  })
})
