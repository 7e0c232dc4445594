import { readFileSync } from 'node:fs'
import { Flag } from '@diskgraph/core'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { frameAt, zstdCodec } from '../../src/compressed/zstd.ts'
import { create, Folder, haveQemu, newGraph, open, qemuCheck, run } from '../images.ts'

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

describe.skipIf(!haveQemu)('zstd images and the real tools', () => {
  it.each([4096, 65536, 2 ** 21])('of %i-byte clusters are read and written by both', async (clusterSize) => {
    using folder = new Folder()
    const random = new Random(seed)
    const size = 8 * clusterSize
    const data = halfRandom(random, size)
    const [ours, theirs, raw] = [folder.file('ours'), folder.file('theirs'), folder.file('raw')]
    await using graph = newGraph()
    await create(graph, ours, { size, clusterSize, compressionType: 'zstd' })
    const disk = await open(graph, ours)
    await disk.write(0, data, Flag.Compressed)
    expect((await disk.info()).specific?.data.compressionType).toBe('zstd')
    await disk.close()
    expect(qemuCheck(ours)).toMatchObject({ code: 0 })
    run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', ours, raw)
    expect(Buffer.compare(readFileSync(raw), data)).toBe(0)
    const options = `compression_type=zstd,cluster_size=${clusterSize}`
    run('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', '-o', options, raw, theirs)
    const other = await open(graph, theirs, { readOnly: true })
    const read = new Uint8Array(size)
    await other.read(0, read)
    expect(Buffer.compare(read, data)).toBe(0)
    expect(await other.check({})).toMatchObject({ corruptions: 0, leaks: 0, compressedClusters: 8 })
  })
})
