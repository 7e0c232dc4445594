import { readFileSync, writeFileSync } from 'node:fs'
import { Flag } from '@diskgraph/core'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import type { Qcow2Image } from '../../src/image.ts'
import { fakeImage } from '../fake-file.ts'
import { create, Folder, haveQemu, newGraph, open, qemuCheck, run } from '../images.ts'

const seed = Number(process.env.SEED ?? randomSeed())

const ones = new Uint8Array(65536).fill(1)

/** Bytes that compress to about a third. */
function compressible(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += 64) bytes.set(random.bytes(Math.min(20, length - at)), at)
  return bytes
}

describe(`compressed clusters (seed ${seed})`, () => {
  it.skipIf(!haveQemu).each([512, 4096, 65536, 2 * 1024 * 1024])(
    'of %i bytes are read by the real tools, and theirs by us',
    async (clusterSize) => {
      using folder = new Folder()
      const random = new Random(seed)
      const size = Math.max(8 * clusterSize, 1024 * 1024) + 512
      const content = compressible(random, size)
      content.set(random.bytes(clusterSize), clusterSize)
      await using graph = newGraph()
      await create(graph, folder.file('ours'), { size, clusterSize })
      const disk = await open(graph, folder.file('ours'))
      await disk.write(0, content, Flag.Compressed)
      await disk.close()
      expect(qemuCheck(folder.file('ours'))).toMatchObject({ code: 0 })
      run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', folder.file('ours'), folder.file('raw'))
      expect(Buffer.compare(readFileSync(folder.file('raw')), content)).toBe(0)

      writeFileSync(folder.file('raw'), content)
      const options = `cluster_size=${clusterSize}`
      run(
        'qemu-img',
        'convert',
        '-c',
        '-o',
        options,
        '-f',
        'raw',
        '-O',
        'qcow2',
        folder.file('raw'),
        folder.file('theirs'),
      )
      const theirs = await open(graph, folder.file('theirs'))
      const got = new Uint8Array(size)
      await theirs.read(0, got)
      expect(Buffer.compare(got, content)).toBe(0)
      for (let i = 0; i < 50; i++) {
        const at = random.below(size - 5000)
        const part = new Uint8Array(5000)
        await theirs.read(at, part)
        expect(Buffer.compare(part, content.subarray(at, at + 5000))).toBe(0)
      }
    },
  )

  it('are packed behind each other, and written with one request', async () => {
    const { image, file } = await fakeImage()
    const content = compressible(new Random(seed), 4 * 65536)
    await image.write(0, content, Flag.Compressed)
    const writes = file.take().filter((call) => call.startsWith('write'))
    expect(writes).toHaveLength(2)
    expect(writes[0]).toBe('write 0x40000+65536')
    expect(writes[1]).toMatch(/^write 0x50000\+/)
    expect(file.size).toBeLessThan(0x50000 + 3 * 65536)
    const got = new Uint8Array(4 * 65536)
    await image.read(0, got, 0)
    expect(Buffer.compare(got, content)).toBe(0)
    expect(await image.blockStatus(0, 65536)).toMatchObject({ compressed: true, data: true, allocated: true })
  })

  it('that do not become smaller are written as they are', async () => {
    const { image } = await fakeImage()
    const noise = new Random(seed).bytes(65536)
    await image.write(0, noise, Flag.Compressed)
    expect(await image.blockStatus(0, 65536)).not.toHaveProperty('compressed')
    const got = new Uint8Array(65536)
    await image.read(0, got, 0)
    expect(Buffer.compare(got, noise)).toBe(0)
  })

  it('need whole clusters, and do not replace data', async () => {
    const { image } = await fakeImage()
    const part = new Uint8Array(1000)
    await expect(image.write(0, part, Flag.Compressed)).rejects.toMatchObject({ code: 'EINVAL' })
    await image.write(0, part, 0)
    await expect(image.write(0, new Uint8Array(65536), Flag.Compressed)).rejects.toMatchObject({ code: 'EIO' })
  })

  it('are inflated once for many small reads', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, compressible(new Random(seed), 65536), Flag.Compressed)
    file.take()
    await Promise.all(Array.from({ length: 16 }, (_, i) => image.read(i * 4096, new Uint8Array(4096), 0)))
    expect(file.take()).toHaveLength(1)
  })

  it.each([
    ['a plain write', 1_376_256, 105, 196_608, 2_555_904, (image: Qcow2Image) => image.write(2_555_904, ones, 0)],
    ['a discard', 3_473_408, 5943, 2_818_048, 3_604_480, (image: Qcow2Image) => image.discard(3_594_593, 300_851)],
  ])(
    'do not go on in a cluster that %s has freed and that holds other data now',
    async (_, at, length, next, first, free) => {
      const { image } = await fakeImage({ size: 4 * 1024 * 1024 })
      await image.write(first, new Uint8Array(65536).fill(94), Flag.Compressed)
      await free(image)
      await image.flush()
      const data = new Random(seed).bytes(length)
      await image.write(at, data, 0)
      expect(await image.blockStatus(at, 1)).toMatchObject({ offset: 0x50000 + (at % 65536) })
      await image.write(next, new Uint8Array(65536).fill(65), Flag.Compressed)
      await image.flush()
      const got = new Uint8Array(length)
      await image.read(at, got, 0)
      expect(Buffer.compare(got, data)).toBe(0)
      expect(await image.check({ repair: 'none' })).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 })
    },
  )

  it('that are overwritten give their space back, and the space is used again', async () => {
    const { image, file, state } = await fakeImage()
    const random = new Random(seed)
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 8; i++) {
        const at = i * 65536
        const { allocated } = await image.blockStatus(at, 65536)
        if (allocated) await image.discard(at, 65536)
      }
      await image.flush()
      await image.write(0, compressible(random, 8 * 65536), Flag.Compressed)
      await image.flush()
      await image.write(65536, random.bytes(65536), 0)
      await image.flush()
    }
    expect(file.size).toBeLessThan(0x50000 + 12 * 65536)
    const result = await image.check({ repair: 'none' })
    expect(result).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 })
    expect(state.frees.empty).toBe(true)
  })
})
