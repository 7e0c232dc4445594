import { readFileSync } from 'node:fs'
import { Flag } from '@diskgraph/core'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { create, Folder, haveQemu, newGraph, open, qemuCheck, run } from '../images.ts'

const seed = Number(process.env.SEED ?? randomSeed())

/** Data that compresses by half. */
function halfRandom(random: Random, length: number): Uint8Array {
  const data = random.bytes(length)
  for (let at = 0; at < length; at += 512) data.fill(at / 512, at, at + 256)
  return data
}

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
