/** Extended L2 entries: what is mapped of a cluster, and what is copied. */
import { readFileSync, writeFileSync } from 'node:fs'
import type { Disk, Graph } from '@diskgraph/core'
import { Flag } from '@diskgraph/core/driver'
import { peer, Random, randomSeed } from '@diskgraph/driver-testkit'
import { afterAll, describe, expect, it } from 'vitest'
import { create, Folder, newGraph, open, qemuCheck, run } from '../images.ts'

const KiB = 1024
const cluster = 64 * KiB
const unit = 2 * KiB
const size = 1024 * KiB
const seed = Number(process.env.SEED ?? randomSeed())
const folder = new Folder()
afterAll(() => folder[Symbol.dispose]())

const bytes = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)
let count = 0

/** A new image, with `base` below it where that is given. */
async function make(graph: Graph, base?: Uint8Array): Promise<{ disk: Disk; filename: string }> {
  const filename = folder.file(`${count++}.qcow2`)
  const backing = folder.file(`${count}.base`)
  if (base !== undefined) writeFileSync(backing, base)
  const below = base === undefined ? {} : { backingFile: backing, backingFmt: 'raw' }
  await create(graph, filename, { size, extendedL2: true, clusterSize: cluster, ...below })
  return { disk: await open(graph, filename, { discard: 'unmap' }), filename }
}

/** An L2 entry on disk, of one L2 table. */
function entry(filename: string, index: number): string {
  const image = readFileSync(filename)
  const l2 = Number(image.readBigUInt64BE(Number(image.readBigUInt64BE(40))) & 0xfffffffffffe00n)
  const hi = image.readBigUInt64BE(l2 + index * 16)
  const state = (hi & (1n << 62n)) !== 0n ? 'compressed' : (hi & 0xfffffffffffe00n) === 0n ? 'none' : 'placed'
  return `${state} ${image.readBigUInt64BE(l2 + index * 16 + 8).toString(16)}`
}

describe('a cluster with subclusters', () => {
  it('has those that were written, and shows the backing file in the others', async () => {
    await using graph = newGraph()
    const { disk, filename } = await make(graph, bytes(size, 5))
    await disk.write(3 * unit + 100, bytes(unit, 7))
    await disk.flush()
    expect(entry(filename, 0)).toBe('placed 18')
    const read = bytes(cluster, 0)
    await disk.read(0, read)
    const expected = bytes(cluster, 5)
    expected.fill(7, 3 * unit + 100, 4 * unit + 100)
    expect(read).toEqual(expected)
    const status = await disk.status(0, cluster)
    expect(status).toMatchObject({ length: 3 * unit, depth: 1 })
  })

  it('gets zeroes by subcluster, and is freed when all of it is zero and may be unmapped', async () => {
    await using graph = newGraph()
    const { disk, filename } = await make(graph, bytes(size, 5))
    await disk.write(0, bytes(cluster, 7))
    await disk.writeZeroes(unit, 2 * unit)
    await disk.flush()
    expect(entry(filename, 0)).toBe('placed 6fffffff9')
    await disk.writeZeroes(0, cluster)
    await disk.flush()
    expect(entry(filename, 0)).toBe('placed ffffffff00000000')
    await disk.writeZeroes(0, cluster, Flag.MayUnmap)
    await disk.flush()
    expect(entry(filename, 0)).toBe('none ffffffff00000000')
  })

  it('that a snapshot shares is copied from the first subcluster that is there to the last', async () => {
    await using graph = newGraph()
    const { disk, filename } = await make(graph)
    await disk.write(4 * unit, bytes(unit, 1))
    await disk.write(9 * unit, bytes(unit, 2))
    await disk.snapshots.create({ name: 's' })
    await disk.write(6 * unit, bytes(unit, 3))
    await disk.flush()
    expect(entry(filename, 0)).toBe('placed 3f0')
    const read = bytes(cluster, 9)
    await disk.read(0, read)
    expect([4, 5, 6, 9, 10].map((i) => read[i * unit])).toEqual([1, 0, 3, 2, 0])
    await disk.snapshots.apply('s')
    await disk.read(0, read)
    expect([4, 5, 6, 9, 10].map((i) => read[i * unit])).toEqual([1, 0, 0, 2, 0])
    expect((await disk.check({})).corruptions).toBe(0)
  })

  it('that is compressed is written out whole', async () => {
    await using graph = newGraph()
    const { disk, filename } = await make(graph)
    await disk.write(0, bytes(cluster, 1), Flag.Compressed)
    await disk.flush()
    expect(entry(filename, 0)).toBe('compressed 0')
    await disk.writeZeroes(unit, unit)
    await disk.flush()
    expect(entry(filename, 0)).toBe('placed ffffffff')
    const read = bytes(3 * unit, 9)
    await disk.read(0, read)
    expect([read[0], read[unit], read[2 * unit - 1], read[2 * unit]]).toEqual([1, 0, 0, 1])
  })

  it.each([
    ['there and zero at once', 0, 0x0000000100000001n],
    ['there without a cluster', 1, 1n],
  ])('is damage when a subcluster is %s', async (_, index, bitmap) => {
    await using graph = newGraph()
    const { disk, filename } = await make(graph)
    await disk.write(0, bytes(512, 1))
    await disk.close()
    const image = readFileSync(filename)
    const l2 = Number(image.readBigUInt64BE(Number(image.readBigUInt64BE(40))) & 0xfffffffffffe00n)
    image.writeBigUInt64BE(bitmap, l2 + index * 16 + 8)
    writeFileSync(filename, image)
    const damaged = await open(graph, filename, { readOnly: true })
    await expect(damaged.read(index * cluster, bytes(512, 0))).rejects.toThrow(/Invalid cluster entry found/)
    expect((await damaged.check({})).corruptions).toBe(1)
    await damaged.close()
    const written = await open(graph, filename)
    await expect(written.write(0, bytes(3 * cluster, 1))).rejects.toMatchObject({ code: 'EIO' })
  })
})

peer('qemu-img', { describe, it }).describe(`random changes of subclusters (seed ${seed})`, () => {
  it.each([true, false])('read as they were made, here and by qemu-img (backing file: %s)', async (backed) => {
    const random = new Random(seed)
    await using graph = newGraph()
    const base = bytes(size, 99)
    const { disk, filename } = await make(graph, backed ? base : undefined)
    const model = backed ? base : bytes(size, 0)
    for (let i = 0; i < 400; i++) {
      const offset = random.below(size - 100_000)
      const length = 1 + random.below(random.below(4) === 0 ? 100_000 : 6000)
      const start = Math.ceil(offset / cluster) * cluster
      const kind = random.below(8)
      if (kind < 4) {
        await disk.write(offset, bytes(length, (i % 250) + 1))
        model.fill((i % 250) + 1, offset, offset + length)
      } else if (kind < 6) {
        await disk.writeZeroes(offset, length, random.below(2) === 0 ? 0 : Flag.MayUnmap)
        model.fill(0, offset, offset + length)
      } else if (kind === 6) {
        await disk.discard(start, cluster)
        await disk.write(start, bytes(cluster, i % 250), Flag.Compressed)
        model.fill(i % 250, start, start + cluster)
      } else if (random.below(3) === 0) {
        await disk.snapshots.create({ name: `s${i}` })
      }
    }
    const all = bytes(size, 0)
    await disk.read(0, all)
    expect(Buffer.from(all).equals(model)).toBe(true)
    await disk.close()
    expect(qemuCheck(filename)).toMatchObject({ code: 0 })
    run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', filename, folder.file('copy'))
    expect(readFileSync(folder.file('copy')).equals(model)).toBe(true)
  })
})
