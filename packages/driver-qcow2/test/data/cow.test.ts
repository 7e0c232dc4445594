/** What is written around the data of a request that takes new clusters. */
import { BlockError } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { FakeFile, type FakeImage, fakeImage } from '../fake-file.ts'
import { content, counts, fileOf, filled, mapping, newGate, turns } from '../mapping.ts'

const KiB = 1024
const cluster = 64 * KiB

/** An image over `backing` that has its first L2 table, so that writes of data are all that its log shows. */
async function imageOver(
  backing: FakeFile | undefined,
  options: Record<string, unknown> = {},
  zeroInit = true,
): Promise<FakeImage> {
  const file = Object.assign(new FakeFile(), { zeroInit })
  const made = await fakeImage(options)
  file.bytes = made.file.bytes
  const opened = await fakeImage({}, {}, { file, ...(backing === undefined ? {} : { backing }) })
  const last = opened.image.size - opened.state.geometry.clusterSize
  await opened.image.write(last, filled(opened.state.geometry.clusterSize, 9), 0)
  await opened.image.flush()
  file.log = []
  if (backing !== undefined) backing.log = []
  return opened
}

/** Calls to the file that change it, and events. */
function steps(file: FakeFile): string[] {
  return file.log.splice(0).filter((step) => !step.startsWith('read') && !/alloc|refblock/.test(step))
}

describe('the edges of a small write', () => {
  it('come from the backing file, in one request with the data', async () => {
    const backing = fileOf(cluster, 5)
    const { image, file } = await imageOver(backing)
    await image.write(10_000, filled(1000, 7), 0)
    expect(backing.take()).toEqual(['read 0x0+10000', 'read 0x2af8+54536'])
    expect(steps(file)).toEqual([
      '(cow_read)',
      '(read_backing_aio)',
      '(read_backing_aio)',
      '(write_aio)',
      '(cow_write)',
      'write 0x60000+65536',
    ])
    expect(await content(image, 0, cluster)).toBe('5 x 10000, 7 x 1000, 5 x 54536')
  })

  it('are the head alone where the backing file ends at the end of the data', async () => {
    const backing = fileOf(11_000, 5)
    const { image, file } = await imageOver(backing)
    await image.write(10_000, filled(1000, 7), 0)
    expect(backing.take()).toEqual(['read 0x0+10000'])
    expect(steps(file).at(-1)).toBe('write 0x60000+11000')
    expect(await content(image, 0, cluster)).toBe('5 x 10000, 7 x 1000, 0 x 54536')
  })

  it('are read as far as the backing file goes', async () => {
    const { image } = await imageOver(fileOf(11_001, 5))
    await image.write(10_000, filled(1000, 7), 0)
    expect(await content(image, 0, cluster)).toBe('5 x 10000, 7 x 1000, 5 x 1, 0 x 54535')
  })

  it('are the tail alone where a write begins with its cluster', async () => {
    const backing = fileOf(cluster, 5)
    const { image, file } = await imageOver(backing)
    await image.write(0, filled(1000, 7), 0)
    expect(backing.take()).toEqual(['read 0x3e8+64536'])
    expect(steps(file).at(-1)).toBe('write 0x60000+65536')
    expect(await content(image, 0, cluster)).toBe('7 x 1000, 5 x 64536')
  })

  it('of several clusters are those of the first and of the last', async () => {
    const backing = fileOf(3 * cluster, 5)
    const { image, file } = await imageOver(backing)
    await image.write(cluster - 100, filled(cluster + 300, 7), 0)
    expect(backing.take()).toEqual(['read 0x0+65436', 'read 0x200c8+65336'])
    expect(steps(file).at(-1)).toBe(`write 0x60000+${3 * cluster}`)
    expect(await content(image, 0, 3 * cluster)).toBe(`5 x 65436, 7 x ${cluster + 300}, 5 x 65336`)
  })

  it('of clusters with the zero flag are zeroes, and the backing file is not read', async () => {
    const backing = fileOf(cluster, 5)
    const { image, file } = await imageOver(backing)
    await image.writeZeroes(0, cluster, 0)
    file.log = []
    await image.write(1000, filled(10, 7), 0)
    expect(backing.take()).toEqual([])
    expect(steps(file)).toEqual(['(write_aio)', 'write 0x603e8+10'])
    expect(await content(image, 0, cluster)).toBe('0 x 1000, 7 x 10, 0 x 64526')
  })

  it('are written over the old bytes of a cluster that was kept behind the zero flag', async () => {
    const { image, file, state } = await imageOver(undefined)
    await image.write(0, filled(cluster, 3), 0)
    await image.writeZeroes(0, cluster, 0)
    expect(await mapping(state, 0)).toEqual(['zeroAllocated 6 copied'])
    file.log = []
    await image.write(1000, filled(10, 7), 0)
    expect(steps(file)).toEqual(['(write_aio)', 'write 0x60000+65536'])
    expect(await mapping(state, 0)).toEqual(['normal 6 copied'])
    expect(await content(image, 0, cluster)).toBe('0 x 1000, 7 x 10, 0 x 64526')
  })

  it('are written over the old bytes of a cluster that was free', async () => {
    const { image, file } = await imageOver(undefined)
    await image.write(0, filled(2 * cluster, 3), 0)
    await image.discard(0, cluster)
    await image.flush()
    file.bytes.fill(3, 6 * cluster, 7 * cluster)
    file.log = []
    await image.write(1000, filled(10, 7), 0)
    expect(steps(file)).toEqual(['(write_aio)', 'write 0x60000+65536'])
    expect(await content(image, 0, cluster)).toBe('0 x 1000, 7 x 10, 0 x 64526')
  })

  it('are written, as a new file need not grow by zeroes', async () => {
    const { image, file } = await imageOver(undefined, {}, false)
    await image.write(1000, filled(10, 7), 0)
    expect(steps(file)).toEqual(['(write_aio)', 'write 0x60000+65536'])
  })

  it('are not read behind the disk, where VM state is', async () => {
    const backing = fileOf(100 * cluster, 5)
    const { image, file } = await imageOver(backing, { size: 32 * KiB, clusterSize: 512 })
    await image.vmState.write(100, filled(10, 7))
    expect(backing.take()).toEqual([])
    expect(file.take().at(-1)).toMatch(/write 0x[0-9a-f]*64\+10$/)
  })

  it('come from a cluster that a snapshot shares', async () => {
    const { image, file, state } = await imageOver(undefined)
    await image.write(0, filled(cluster, 3), 0)
    await image.snapshots.create({ name: 'one' })
    await image.write(1000, filled(10, 7), 0)
    expect(await content(image, 0, cluster)).toBe('3 x 1000, 7 x 10, 3 x 64526')
    await image.flush()
    expect(await counts(state, 6, 1)).toEqual([1])
    expect(file.bytes[6 * cluster + 1000]).toBe(3)
  })

  it('fail the write when they cannot be read, and the disk is as it was', async () => {
    for (const [from, to] of [
      [1000, 2000],
      [0, 1000],
      [1000, cluster],
    ] as const) {
      const backing = fileOf(cluster, 5)
      const { image, state } = await imageOver(backing)
      backing.before = () => Promise.reject(new BlockError('EIO', 'broken'))
      await expect(image.write(from, filled(to - from, 7), 0)).rejects.toThrow('broken')
      backing.before = () => undefined
      expect(await counts(state, 6, 1)).toEqual([0])
      expect(await mapping(state, 0)).toEqual(['unallocated'])
      expect(await content(image, 0, cluster)).toBe('5 x 65536')
    }
  })
})

describe('the event of space for a cluster', () => {
  it('is raised where all edges are zeroes, and there are some', async () => {
    const events = async (backing: FakeFile | undefined, from: number, to: number): Promise<string[]> => {
      const { image, file } = await imageOver(backing)
      await image.write(from, filled(to - from, 7), 0)
      return file.take('events').filter((event) => event === '(cluster_alloc_space)')
    }
    expect(await events(undefined, 0, 1000)).toHaveLength(1)
    expect(await events(undefined, 1000, cluster)).toHaveLength(1)
    expect(await events(undefined, 1000, 2000)).toHaveLength(1)
    expect(await events(undefined, 0, cluster)).toHaveLength(0)
    expect(await events(fileOf(2000, 5), 1000, 2000)).toHaveLength(0)
    expect(await events(fileOf(cluster, 5), 0, 2000)).toHaveLength(0)
  })

  it('holds up the write for as long as it is held', async () => {
    for (const held of ['cluster_alloc_space', 'write_aio']) {
      const { image, file } = await imageOver(undefined)
      const gate = newGate()
      file.debugEvent = (event) => (event === held ? gate.promise : undefined)
      const written = image.write(0, filled(1000, 7), 0)
      await turns()
      expect(file.take().filter((call) => call.startsWith('write'))).toEqual([])
      gate.open()
      await written
      expect(file.take().at(-1)).toBe('write 0x60000+1000')
    }
  })

  it('and those of copies hold up what they stand before', async () => {
    for (const held of ['cow_read', 'cow_write']) {
      const backing = fileOf(2048 * KiB, 5)
      for (const [size, before] of [
        [cluster, held === 'cow_read' ? 0 : 2],
        [512 * KiB, held === 'cow_read' ? 0 : 2],
      ] as const) {
        const { image, file } = await imageOver(backing, { clusterSize: size })
        const gate = newGate()
        file.debugEvent = (event) => (event === held ? gate.promise : undefined)
        const written = image.write(1000, filled(1000, 7), 0)
        await turns()
        expect(backing.take()).toHaveLength(before)
        expect(file.take().filter((call) => call.startsWith('write'))).toHaveLength(size === cluster ? 0 : 1)
        gate.open()
        await written
        expect(await content(image, 0, 3000)).toBe('5 x 1000, 7 x 1000, 5 x 1000')
      }
    }
  })
})

describe('the edges of a large write', () => {
  it('go with it up to 256 KiB in all, and by themselves above', async () => {
    for (const [clusterSize, calls] of [
      [256 * KiB, 1],
      [512 * KiB, 3],
    ] as const) {
      const { image, file } = await imageOver(fileOf(clusterSize, 5), { clusterSize })
      await image.write(10_000, filled(1000, 7), 0)
      expect(file.take().filter((call) => call.startsWith('write'))).toHaveLength(calls)
      expect(await content(image, 0, clusterSize)).toBe(`5 x 10000, 7 x 1000, 5 x ${clusterSize - 11_000}`)
    }
  })

  it('are copied by themselves where they hold data', async () => {
    const size = 1024 * KiB
    const { image, file } = await imageOver(fileOf(size, 5), { clusterSize: size })
    await image.write(1000, filled(300 * KiB, 7), 0)
    const host = 6 * size
    const found = steps(file)
    expect(found.slice(0, 2)).toEqual(['(write_aio)', `write 0x${(host + 1000).toString(16)}+${300 * KiB}`])
    expect(found.filter((step) => step === '(cow_read)' || step === '(cow_write)')).toHaveLength(4)
    expect(found.filter((step) => step.startsWith('write')).slice(1)).toEqual([
      `write 0x${host.toString(16)}+1000`,
      `write 0x${(host + 1000 + 300 * KiB).toString(16)}+${size - 1000 - 300 * KiB}`,
    ])
    expect(await content(image, 0, size)).toBe(`5 x 1000, 7 x ${300 * KiB}, 5 x ${size - 1000 - 300 * KiB}`)
  })

  it('that are zeroes are left to the storage from 64 KiB on', async () => {
    const size = 1024 * KiB
    const host = (6 * size).toString(16)
    for (const [head, call] of [
      [64 * KiB, `zero 0x${host}+65536`],
      [64 * KiB - 1, `write 0x${host}+65535`],
    ] as const) {
      const { image, file } = await imageOver(undefined, { clusterSize: size }, false)
      await image.write(head, filled(size - head, 7), 0)
      expect(file.take().filter((line) => !line.startsWith('read'))).toContain(call)
      expect(await content(image, 0, size)).toBe(`0 x ${head}, 7 x ${size - head}`)
    }
  })

  it('of the same size on both sides are copied, to a cluster in the middle of the disk', async () => {
    const size = 512 * KiB
    const { image } = await imageOver(fileOf(4 * size, 5), { clusterSize: size })
    await image.write(2 * size + 4096, filled(size - 8192, 7), 0)
    expect(await content(image, 2 * size, size)).toBe(`5 x 4096, 7 x ${size - 8192}, 5 x 4096`)
  })

  it('that need not be written are not', async () => {
    const size = 1024 * KiB
    const { image, file } = await imageOver(fileOf(1000, 5), { clusterSize: size })
    await image.write(1000, filled(300 * KiB, 7), 0)
    expect(file.take().filter((call) => call.startsWith('write'))).toEqual([
      `write 0x${(6 * size + 1000).toString(16)}+${300 * KiB}`,
      `write 0x${(6 * size).toString(16)}+1000`,
    ])
    const other = await imageOver(undefined, { clusterSize: size })
    await other.image.write(1000, filled(300 * KiB, 7), 0)
    expect(other.file.take().filter((call) => /^(write|zero)/.test(call))).toHaveLength(1)
  })

  it('are waited for, also when the data itself fails', async () => {
    const size = 512 * KiB
    const { image, file, state } = await imageOver(fileOf(size, 5), { clusterSize: size })
    const gate = newGate()
    file.before = (call) => {
      if (call.endsWith(`+${300 * KiB}`)) return Promise.reject(new BlockError('EIO', 'broken'))
      return call.endsWith('+1000') ? gate.promise : undefined
    }
    let over = false
    const written = image.write(1000, filled(300 * KiB, 7), 0).finally(() => {
      over = true
    })
    void written.catch(() => undefined)
    await turns()
    expect(over).toBe(false)
    gate.open()
    await expect(written).rejects.toThrow('broken')
    expect(await counts(state, 6, 1)).toEqual([0])
  })
})

describe('new clusters', () => {
  it('that lie on metadata are refused before anything is written there', async () => {
    const { image, file, state } = await imageOver(undefined)
    await state.refcounts.update(3, 1, -1)
    file.log = []
    await expect(image.write(0, filled(1000, 7), 0)).rejects.toThrow('overlaps with active L1 table')
    expect(file.take().filter((call) => call.startsWith('write 0x3'))).toEqual([])
    expect(state.corruption.broken).toBe(true)
  })

  it('several of which touch metadata with their last are refused, too', async () => {
    const { image, file, state } = await imageOver(undefined)
    await state.refcounts.update(3, 1, -1)
    await state.refcounts.update(4, 1, -1)
    state.overlap.checked &= ~2
    file.log = []
    await expect(image.write(0, filled(2 * cluster, 7), 0)).rejects.toThrow('overlaps with active L2 table')
    expect(file.take().filter((call) => call.startsWith('write 0x3'))).toEqual([])
  })
})
