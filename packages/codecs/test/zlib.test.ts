import { deflateSync, inflateSync } from 'node:zlib'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { zlib as browserZlib } from '../src/zlib/browser.ts'
import { zlib as nodeZlib } from '../src/zlib/node.ts'

const seed = Number(process.env.SEED ?? randomSeed())

describe.each([
  ['node', nodeZlib],
  ['browsers', browserZlib],
])(`zlib of %s (seed ${seed})`, (_, zlib) => {
  const data = new Uint8Array(new Random(seed).bytes(50_000)).fill(7, 1000, 40_000)

  it('reads and writes what others do', async () => {
    expect(Buffer.compare(inflateSync(await zlib.deflate(data)), data)).toBe(0)
    expect(Buffer.compare(await zlib.inflate(deflateSync(data), 65536), data)).toBe(0)
  })

  it('refuses what is damaged, cut, or comes to more', async () => {
    const stream = new Uint8Array(deflateSync(data))
    await expect(zlib.inflate(stream, 49_999)).rejects.toThrow()
    await expect(zlib.inflate(stream.subarray(0, -10), 65536)).rejects.toThrow()
    stream[stream.length - 1]! ^= 1
    await expect(zlib.inflate(stream, 65536)).rejects.toThrow()
  })
})
