import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { frameAt, zstdCodec } from '../src/zstd/zstd.ts'

const seed = Number(process.env.SEED ?? randomSeed())

/** Data that compresses by half. */
function halfRandom(random: Random, length: number): Uint8Array {
  const data = random.bytes(length)
  for (let at = 0; at < length; at += 512) data.fill(at / 512, at, at + 256)
  return data
}

describe(`zstd by WebAssembly (seed ${seed})`, () => {
  it.each([512, 65536, 2 ** 21])('gives back clusters of %i bytes, whatever stands behind them', async (size) => {
    const codec = await zstdCodec()
    const random = new Random(seed)
    const data = halfRandom(random, size)
    const frame = (await codec.deflate(data, size)) as Uint8Array
    expect(frame.byteLength).toBeLessThan(size)
    const padded = new Uint8Array(frame.byteLength + 300)
    padded.set(random.bytes(300), frame.byteLength)
    padded.set(frame)
    expect(Buffer.compare(await codec.inflate(padded, size), data)).toBe(0)
    expect(frameAt(padded, size)).toHaveLength(frame.byteLength)
  })

  it('does not store what does not become shorter', async () => {
    const codec = await zstdCodec()
    expect(await codec.deflate(new Random(seed).bytes(4096), 4096)).toBeUndefined()
  })

  it('refuses frames that are cut, are of another size, or want too much memory', async () => {
    const codec = await zstdCodec()
    const size = 4096
    const frame = (await codec.deflate(halfRandom(new Random(seed), size), size)) as Uint8Array
    const failing = (data: Uint8Array, length = size): Promise<unknown> =>
      expect(codec.inflate(data, length)).rejects.toThrow()
    await failing(frame.subarray(0, 100))
    await failing(frame.subarray(0, 3))
    await failing(frame, 8192)
    await failing(new Uint8Array(100))
    const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'hex'))
    // A window of 2 GiB; a content of 2^60 bytes; a block of 128 KiB of one byte in a frame for 4 KiB.
    await failing(hex('28b52ffd00a8010000'))
    await failing(hex('28b52ffde00000000000000010010000'))
    await failing(hex('28b52ffd005803001061'))
  })
})
