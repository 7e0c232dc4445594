import { once } from 'node:events'
import { connect } from 'node:net'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'
import { negotiations, requests } from './abuse-rows.ts'
import { Served } from './served.ts'

const seed = randomSeed()

it(`a server survives a thousand clients that send random bytes (SEED=${seed})`, async () => {
  const random = new Random(seed)
  const rows = Object.values({ ...negotiations, ...requests }).map(({ sent }) => sent)
  await using served = await Served.start()
  for (let round = 0; round < 20; round++) {
    await Promise.all(
      Array.from({ length: 50 }, () => send(served, mutated(rows[random.below(rows.length)] as Buffer, random))),
    )
  }
  while (served.server.connections > 0) await new Promise((resolve) => setImmediate(resolve))
  await using client = await served.client()
  const buf = new Uint8Array(4096)
  await client.read(0, buf)
  await client.close()
  await served.server.exports.remove('', 'hard')
  expect([...served.server.exports]).toEqual([])
}, 60_000)

/** Sends bytes, ends, and waits until the server has ended, too. */
async function send(served: Served, bytes: Buffer): Promise<void> {
  const socket = connect({ path: served.path })
  socket.on('error', () => {})
  socket.resume()
  socket.end(bytes)
  await once(socket, 'close')
}

/** `bytes` with a few of them changed, cut somewhere, or with others behind them. */
function mutated(bytes: Buffer, random: Random): Buffer {
  const copy = Buffer.from(bytes)
  for (let times = random.below(4); times > 0 && copy.length > 0; times--) {
    copy[random.below(copy.length)] = random.below(256)
  }
  if (random.below(3) === 0) return copy.subarray(0, random.below(copy.length + 1))
  const noise = Buffer.from(Array.from({ length: random.below(100) }, () => random.below(256)))
  return random.below(2) === 0 ? Buffer.concat([copy, noise]) : copy
}
