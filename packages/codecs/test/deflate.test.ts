import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { rawDeflate as browserZlib } from '../src/deflate/browser.ts'
import { rawDeflate as nodeZlib } from '../src/deflate/node.ts'

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
      [nodeZlib, browserZlib].map((zlib) => zlib.inflate(stream, data.length).then(Buffer.from, () => undefined)),
    )
    expect(ours?.toString('latin1')).toBe(theirs?.toString('latin1'))
  }
})

it('browsers are done soon with a stream of millions of bytes that hold blocks without data', async () => {
  const bits: number[] = []
  const put = (value: number, count: number): void => {
    for (let bit = 0; bit < count; bit++) bits.push((value >> bit) & 1)
  }
  // Eight blocks are whole bytes. Their code lengths have codes for 18 (a run of zeroes), 0 and 1, of 1, 2 and 2 bits.
  for (let block = 0; block < 8; block++) {
    for (const [value, count] of [
      [0, 1],
      [2, 2],
      [0, 5],
      [0, 5],
      [14, 4],
    ] as const)
      put(value, count)
    for (const order of [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1]) {
      put(order === 18 ? 1 : order < 2 ? 2 : 0, 3)
    }
    // 256 symbols without a code, the end of the block with a code of one bit, one distance; the block ends.
    for (const [value, count] of [
      [0, 1],
      [127, 7],
      [0, 1],
      [107, 7],
      [3, 2],
      [3, 2],
      [0, 1],
    ] as const)
      put(value, count)
  }
  const eight = Uint8Array.from({ length: bits.length / 8 }, (_, at) =>
    bits.slice(at * 8, at * 8 + 8).reduce((byte, bit, i) => byte + (bit << i), 0),
  )
  const stream = new Uint8Array(Math.floor(2 ** 22 / eight.length) * eight.length)
  for (let at = 0; at < stream.length; at += eight.length) stream.set(eight, at)
  const begin = performance.now()
  await expect(browserZlib.inflate(stream, 2 * 2 ** 20)).rejects.toThrow('0 bytes instead of 2097152')
  expect(performance.now() - begin).toBeLessThan(4000)
})
