import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { browserZlib } from '../../src/compressed/zlib-browser.ts'
import { nodeZlib } from '../../src/compressed/zlib-node.ts'

const seed = Number(process.env.SEED ?? randomSeed())
const size = 65536

function sample(random: Random): Uint8Array {
  const bytes = new Uint8Array(size)
  for (let at = 0; at < size; at += 100) bytes.set(random.bytes(30), at)
  return bytes
}

describe.each([
  ['node', nodeZlib],
  ['browsers', browserZlib],
])(`zlib of %s (seed ${seed})`, (_, zlib) => {
  const random = new Random(seed)

  it('reads what the other one writes', async () => {
    const data = sample(random)
    for (const other of [nodeZlib, browserZlib]) {
      const deflated = await other.deflate(data, size)
      expect(Buffer.compare(await zlib.inflate(deflated!, size), data)).toBe(0)
    }
  })

  it('reads streams of any window, with bytes behind them', async () => {
    const data = sample(random)
    for (const windowBits of [9, 12, 15]) {
      const stream = new Uint8Array([...deflateRawSync(data, { windowBits }), ...random.bytes(300)])
      expect(Buffer.compare(await zlib.inflate(stream, size), data)).toBe(0)
    }
  })

  it('reads blocks of every kind', async () => {
    const data = sample(random)
    for (const options of [{ level: 0 }, { strategy: constants.Z_FIXED }, { level: 9 }]) {
      expect(Buffer.compare(await zlib.inflate(deflateRawSync(data, options), size), data)).toBe(0)
    }
  })

  it('reads what consists of the longest matches', async () => {
    const data = new Uint8Array(size).fill(7)
    const deflated = await zlib.deflate(data, size)
    expect(deflated!.byteLength).toBeLessThan(1000)
    expect(Buffer.compare(await zlib.inflate(deflated!, size), data)).toBe(0)
  })

  it('writes matches within the window that readers have', async () => {
    const block = random.bytes(4300)
    const data = new Uint8Array(Array.from({ length: 15 }, () => [...block]).flat())
    const repeats = new Uint8Array([...data, ...new Uint8Array(size)]).subarray(0, size)
    const deflated = await zlib.deflate(repeats, size + 8192)
    expect(Buffer.compare(inflateRawSync(deflated!, { windowBits: 12, chunkSize: 4096 }), repeats)).toBe(0)
  })

  it('says when data does not become shorter', async () => {
    expect(await zlib.deflate(random.bytes(size), size)).toBeUndefined()
  })

  it('refuses streams that are damaged, too short or too long', async () => {
    const data = sample(random)
    await expect(zlib.inflate(random.bytes(500).fill(0xff, 0, 10), size)).rejects.toThrow()
    await expect(zlib.inflate(deflateRawSync(data.subarray(0, 1000)), size)).rejects.toThrow()
    await expect(zlib.inflate(deflateRawSync(data), 1000)).rejects.toThrow()
    await expect(zlib.inflate(deflateRawSync(data).subarray(0, 5000), size)).rejects.toThrow()
  })
})

it(`browsers refuse what zlib refuses, and read what it reads (seed ${seed})`, async () => {
  const random = new Random(seed)
  for (let i = 0; i < 300; i++) {
    const data = sample(random).subarray(0, 1 + random.below(8000))
    const stream = new Uint8Array(deflateRawSync(data, { level: 1 + (i % 9), memLevel: 1 + (i % 9), strategy: i % 4 }))
    for (let n = i % 3; n >= 0; n--) stream[random.below(Math.min(stream.length, 200))]! ^= 1 << random.below(8)
    const [theirs, ours] = await Promise.all(
      [() => inflateRawSync(stream), () => browserZlib.inflate(stream, data.length)].map(async (read) => {
        try {
          return Buffer.from(await read())
        } catch {
          return undefined
        }
      }),
    )
    const right = theirs?.length === data.length ? theirs : undefined
    expect(ours?.toString('latin1')).toBe(right?.toString('latin1'))
  }
})
