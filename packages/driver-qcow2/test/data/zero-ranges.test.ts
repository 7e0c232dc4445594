/** Zeroes, by the way that they are written in. */
import { BlockError, Flag } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { type FakeFile, type FakeImage, fakeImage } from '../fake-file.ts'
import { content, counts, fileOf, filled, mapping, newGate, turns } from '../mapping.ts'

const cluster = 65536

/** An image of `clusters` clusters, the first half of which hold data. */
async function imageOf(
  clusters: number,
  create: Record<string, unknown> = {},
  backing?: FakeFile,
  options: Record<string, unknown> = {},
): Promise<FakeImage> {
  const made = await fakeImage({ size: clusters * cluster, ...create })
  await made.image.write(0, filled((clusters / 2) * cluster), 0)
  await made.image.close()
  const opened = await fakeImage({}, options, { file: made.file, ...(backing === undefined ? {} : { backing }) })
  opened.file.log = []
  return opened
}

function changes(file: FakeFile): string[] {
  return file.take().filter((call) => /^(write|zero|discard)/.test(call))
}

describe('zeroes', () => {
  it('of whole clusters are a flag, and the parts around them are written in place', async () => {
    const { image, file, state } = await imageOf(8)
    await image.writeZeroes(cluster - 100, 2 * cluster + 300, 0)
    const parts = ['zero 0x5ff9c+100', 'zero 0x80000+200']
    expect(changes(file)).toEqual(parts)
    const expected = ['normal 5 copied', 'zeroAllocated 6 copied', 'zeroAllocated 7 copied', 'normal 8 copied']
    expect(await mapping(state, 0, 4)).toEqual(expected)
    expect(await content(image, 0, 4 * cluster)).toBe('1 x 65436, 0 x 131372, 1 x 65336')
  })

  it('inside one cluster are written in place', async () => {
    const { image, file } = await imageOf(8)
    await image.writeZeroes(100, 200, 0)
    expect(changes(file)).toEqual(['zero 0x50064+200'])
    expect(await content(image, 0, 1000)).toBe('1 x 100, 0 x 200, 1 x 700')
  })

  it('free the clusters that may be unmapped, and no others', async () => {
    const { image, state } = await imageOf(8)
    await image.writeZeroes(0, cluster, Flag.MayUnmap)
    await image.writeZeroes(cluster, cluster, 0)
    await image.flush()
    expect(await mapping(state, 0, 2)).toEqual(['zero', 'zeroAllocated 6 copied'])
    expect(await counts(state, 5, 2)).toEqual([0, 1])
    await image.writeZeroes(cluster, cluster, Flag.MayUnmap)
    await image.flush()
    expect(await counts(state, 6, 1)).toEqual([0])
  })

  it('keep clusters where discards must not free them', async () => {
    const { image, state } = await imageOf(8, {}, undefined, { discardNoUnref: true })
    await image.writeZeroes(0, cluster, Flag.MayUnmap)
    expect(await mapping(state, 0)).toEqual(['zeroAllocated 5 copied'])
  })

  it('free compressed data in any case', async () => {
    const { image, state } = await imageOf(8)
    await image.write(6 * cluster, filled(cluster), Flag.Compressed)
    await image.flush()
    expect(await counts(state, 9, 1)).toEqual([1])
    await image.writeZeroes(6 * cluster, cluster, 0)
    await image.flush()
    expect(await mapping(state, 6 * cluster)).toEqual(['zero'])
    expect(await counts(state, 9, 1)).toEqual([0])
  })

  it('that are there already change nothing', async () => {
    const { image, state } = await imageOf(8)
    await image.writeZeroes(0, cluster, 0)
    await image.writeZeroes(6 * cluster, cluster, 0)
    await image.flush()
    await image.writeZeroes(0, cluster, 0)
    await image.writeZeroes(6 * cluster, cluster, 0)
    expect(state.store.mappingDirty).toBe(false)
  })

  it('to the end of the disk flag its last cluster, though the disk ends in it', async () => {
    const { image, file, state } = await imageOf(2, { size: 2 * cluster - 1024 })
    await image.write(cluster, filled(cluster - 1024), 0)
    file.log = []
    await image.writeZeroes(cluster, 1024, 0)
    expect(changes(file)).toEqual(['zero 0x60000+1024'])
    await image.writeZeroes(cluster, cluster - 1024, 0)
    expect(changes(file)).toEqual([])
    expect(await mapping(state, cluster)).toEqual(['zeroAllocated 6 copied'])
  })

  it('are refused of an image that is marked as corrupt', async () => {
    const { image, state } = await imageOf(2)
    state.corruption.broken = true
    await expect(image.writeZeroes(0, 512, 0)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
  })
})

describe('zeroes in a part of a cluster', () => {
  it('flag all of it where the rest reads as zeroes: no data, a flag, and a backing file of zeroes', async () => {
    const { image, file, state } = await imageOf(8)
    await image.writeZeroes(6 * cluster + 100, 200, 0)
    expect(changes(file).filter((call) => !call.startsWith('write 0x4'))).toEqual([])
    expect(await mapping(state, 6 * cluster)).toEqual(['zero'])
    await image.writeZeroes(0, cluster, 0)
    await image.writeZeroes(100, 200, Flag.MayUnmap)
    expect(await mapping(state, 0)).toEqual(['zero'])
  })

  it('look at the backing file before and behind them, as far as it goes', async () => {
    const zero = async (from: number, to: number, at: number, size: number): Promise<string> => {
      const backing = fileOf(size, 5)
      backing.chainStatus = async (offset, length) => {
        const zero = offset < from || offset >= to
        const end = offset < from ? from : zero ? size : to
        return { length: Math.min(length, end - offset), data: !zero, zero, present: true }
      }
      const { image, state } = await imageOf(2, {}, backing)
      await image.writeZeroes(cluster + at, 1000, 0)
      return (await mapping(state, cluster))[0]!.split(' ')[0]!
    }
    const at = cluster
    expect(await zero(at + 5000, at + 6000, 5000, 2 * cluster)).toBe('zero')
    expect(await zero(at + 4999, at + 6000, 5000, 2 * cluster)).toBe('normal')
    expect(await zero(at + 5000, at + 6001, 5000, 2 * cluster)).toBe('normal')
    expect(await zero(at + 100, at + 200, 5000, 2 * cluster)).toBe('normal')
    expect(await zero(at + 5000, at + 7000, 5000, at + 6000)).toBe('zero')
    expect(await zero(at + 5000, at + 7000, 5000, at + 6001)).toBe('normal')
    expect(await zero(0, 2 * cluster, 5000, cluster)).toBe('zero')
  })

  it('write data in place where the cluster holds some, whatever its rest is', async () => {
    const { image, file, state } = await imageOf(8)
    await image.write(0, new Uint8Array(cluster), 0)
    file.log = []
    await image.writeZeroes(100, 200, 0)
    expect(await mapping(state, 0)).toEqual(['normal 5 copied'])
    expect(changes(file)).toEqual(['zero 0x50064+200'])
  })

  it('leave data alone that was written meanwhile, around them', async () => {
    const { image } = await imageOf(8)
    await Promise.all([
      image.writeZeroes(6 * cluster + 1000, 1000, 0),
      image.write(6 * cluster + 5000, filled(1000, 7), 0),
      image.writeZeroes(6 * cluster + 8000, 1000, 0),
    ])
    expect(await content(image, 6 * cluster, 7000)).toBe('0 x 5000, 7 x 1000, 0 x 1000')
  })

  it('take new clusters where a snapshot shares them, or where data is compressed', async () => {
    const { image, state } = await imageOf(8)
    await image.write(6 * cluster, filled(cluster), Flag.Compressed)
    await image.snapshots.create({ name: 'one' })
    for (const at of [0, 6 * cluster]) {
      await expect(image.writeZeroes(at + 100, 200, Flag.NoFallback)).rejects.toMatchObject({
        code: 'ENOTSUP',
        message: 'these zeroes would have to be written as data',
      })
      await image.writeZeroes(at + 100, 200, 0)
      expect((await mapping(state, at))[0]).toMatch(/^normal \d+ copied$/)
      expect(await content(image, at, 1000)).toBe('1 x 100, 0 x 200, 1 x 700')
    }
  })

  it('wait for what is on its way there, and end with their signal', async () => {
    const { image, file } = await imageOf(8)
    const gate = newGate()
    file.before = (call) => (/^write 0x9/.test(call) ? gate.promise : undefined)
    const written = image.write(6 * cluster, filled(cluster, 7), 0)
    await turns()
    const zeroed = image.writeZeroes(6 * cluster + 100, 200, 0)
    await turns()
    gate.open()
    await Promise.all([written, zeroed])
    expect(await content(image, 6 * cluster, 1000)).toBe('7 x 100, 0 x 200, 7 x 700')
    const controller = new AbortController()
    controller.abort(new BlockError('ECANCELED', 'aborted'))
    await expect(image.writeZeroes(100, 200, 0, controller.signal)).rejects.toMatchObject({ code: 'ECANCELED' })
  })
})

describe('zeroes of a version 2 image', () => {
  it('deallocate whole clusters without a backing file', async () => {
    const { image, state } = await imageOf(4, { compat: 'v2' })
    await image.writeZeroes(0, cluster, 0)
    expect(await mapping(state, 0, 2)).toEqual(['unallocated', 'normal 6 copied'])
    expect(await content(image, 0, 2 * cluster)).toBe(`0 x ${cluster}, 1 x ${cluster}`)
  })

  it('are data above a backing file, up to the end of the disk', async () => {
    const { image, file, state } = await imageOf(4, { compat: 'v2', size: 4 * cluster - 512 }, fileOf(4 * cluster, 5))
    await expect(image.writeZeroes(2 * cluster, cluster, Flag.NoFallback)).rejects.toMatchObject({ code: 'ENOTSUP' })
    await image.writeZeroes(3 * cluster, cluster - 512, 0)
    await image.writeZeroes(0, cluster, 0)
    expect(await mapping(state, 0, 4)).toEqual(['normal 5 copied', 'normal 6 copied', 'unallocated', 'normal 7 copied'])
    expect(changes(file).some((call) => call === 'zero 0x50000+65536')).toBe(true)
    expect(await content(image, 2 * cluster, 2 * cluster - 512)).toBe(`5 x ${cluster}, 0 x ${cluster - 512}`)
  })

  it('in a part of a cluster that has no data change nothing without a backing file', async () => {
    const { image, file, state } = await imageOf(4, { compat: 'v2' })
    await image.writeZeroes(3 * cluster + 100, 200, 0)
    expect(changes(file)).toEqual([])
    expect(await mapping(state, 3 * cluster)).toEqual(['unallocated'])
  })

  it('longer than one piece of zeroes are written in several', async () => {
    const size = 2 * 1024 * 1024 + 3 * cluster
    const { image, file } = await imageOf(size / cluster, { compat: 'v2' }, fileOf(size, 5))
    await image.discard(0, 1).catch(() => undefined)
    const half = Math.floor(size / cluster / 2) * cluster
    const start = Math.ceil(half / cluster) * cluster + cluster
    await image.writeZeroes(start, size - start, 0)
    expect(changes(file).length).toBeGreaterThan(1)
    expect(await content(image, start, size - start)).toBe(`0 x ${size - start}`)
  })
})

describe('zeroes in the middle of a disk', () => {
  it('leave in version 2 what is around them, with a backing file and without', async () => {
    const alone = await imageOf(8, { compat: 'v2' })
    await alone.image.writeZeroes(cluster, cluster, 0)
    await alone.image.flush()
    expect(await mapping(alone.state, 0, 3)).toEqual(['normal 5 copied', 'unallocated', 'normal 7 copied'])
    expect(await counts(alone.state, 6, 1)).toEqual([0])
    const above = await imageOf(8, { compat: 'v2' }, fileOf(8 * cluster, 5))
    await above.image.writeZeroes(5 * cluster, cluster, 0)
    expect(await content(above.image, 4 * cluster, 3 * cluster)).toBe(`5 x ${cluster}, 0 x ${cluster}, 5 x ${cluster}`)
  })

  it('make the L2 table that they need', async () => {
    const made = await fakeImage({ size: 8 * cluster })
    await made.image.close()
    const { image } = await fakeImage({}, {}, { file: made.file, backing: fileOf(8 * cluster, 5) })
    await image.writeZeroes(2 * cluster, cluster, 0)
    expect(await content(image, cluster, 3 * cluster)).toBe(`5 x ${cluster}, 0 x ${cluster}, 5 x ${cluster}`)
  })

  it('that are data wait where another write is on its way, and go on before and behind it', async () => {
    const { image, file } = await imageOf(8, { compat: 'v2' }, fileOf(8 * cluster, 5))
    const gate = newGate()
    file.before = (call) => (call.startsWith('write 0x9') ? gate.promise : undefined)
    const written = image.write(5 * cluster, filled(cluster, 7), 0)
    await turns()
    file.log = []
    const zeroed = image.writeZeroes(4 * cluster, 3 * cluster, 0)
    await turns()
    expect(changes(file)).toEqual(['write 0xa0000+65536'])
    gate.open()
    await Promise.all([written, zeroed])
    expect(await content(image, 3 * cluster, 5 * cluster)).toBe(`1 x ${cluster}, 0 x ${3 * cluster}, 5 x ${cluster}`)
  })
})

describe('zeroes in place', () => {
  it('are refused far behind the end of the file and on metadata, and wait for a check', async () => {
    const { image, file, state } = await imageOf(8)
    const gate = newGate()
    const { check } = state.overlap
    state.overlap.check = () => gate.promise
    const zeroed = image.writeZeroes(100, 200, 0)
    await turns()
    expect(changes(file)).toEqual([])
    gate.open()
    await zeroed
    expect(changes(file)).toEqual(['zero 0x50064+200'])
    state.overlap.check = check
    state.overlap.snapshotTable = { offset: 5 * cluster, length: 200 }
    await expect(image.writeZeroes(100, 200, 0)).rejects.toThrow('overlaps with snapshot table')
    expect(changes(file).filter((call) => call.startsWith('zero'))).toEqual([])
  })
})
