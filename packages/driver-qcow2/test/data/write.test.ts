/** Writes of guest data: in place, into new clusters, and both beside others. */
import { BlockError, Flag } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { type FakeFile, fakeImage } from '../fake-file.ts'
import { content, counts, fileOf, filled, mapping, newGate, turns } from '../mapping.ts'

const cluster = 65536
const small = { clusterSize: 512, size: 1024 * 1024 }

function writesOf(file: FakeFile): string[] {
  return file.take().filter((call) => call.startsWith('write'))
}

describe('a write in place', () => {
  it('goes to its cluster when overlap checks and events let it', async () => {
    const { image, file, state } = await fakeImage()
    await image.write(0, filled(2 * cluster), 0)
    const gate = newGate()
    file.log = []
    file.debugEvent = () => gate.promise
    const written = image.write(1000, filled(10, 7), 0)
    await turns()
    expect(file.take()).toEqual([])
    gate.open()
    await written
    expect(file.take()).toEqual(['write 0x503e8+10'])
    file.debugEvent = () => undefined
    const slow = newGate()
    state.overlap.check = () => slow.promise
    const checked = image.write(1000, filled(10, 8), 0)
    await turns()
    expect(file.take()).toEqual([])
    slow.open()
    await checked
    expect(await content(image, 0, 2000)).toBe('1 x 1000, 8 x 10, 1 x 990')
  })

  it('waits for an event also where an overlap check took time', async () => {
    const { image, file, state } = await fakeImage()
    await image.write(0, filled(cluster), 0)
    const gate = newGate()
    file.log = []
    file.debugEvent = (event) => (event === 'write_aio' ? gate.promise : undefined)
    state.overlap.check = () => turns(1)
    const written = image.write(1000, filled(10, 7), 0)
    await turns()
    expect(file.take()).toEqual([])
    gate.open()
    await written
    expect(file.take()).toEqual(['write 0x503e8+10'])
  })

  it('keeps its cluster from being taken by others until it is done, at every way to it', async () => {
    for (const way of ['at once', 'event', 'check', 'pieces']) {
      const { image, file, state } = await fakeImage()
      await image.write(0, filled(cluster), 0)
      await image.flush()
      const gate = newGate()
      const { check } = state.overlap
      if (way === 'event') file.debugEvent = (event) => (event === 'write_aio' ? gate.promise : undefined)
      if (way === 'check') state.overlap.check = () => gate.promise
      file.before = (call) =>
        way !== 'event' && way !== 'check' && call.startsWith('write 0x5') ? gate.promise : undefined
      const late = image.write(cluster - 512, filled(way === 'pieces' ? 1024 : 512, 9), 0)
      if (way === 'pieces') await turns()
      file.debugEvent = () => undefined
      state.overlap.check = check
      file.before = () => undefined
      await image.discard(0, cluster)
      await image.flush()
      expect(await counts(state, 5, 1), way).toEqual([1])
      gate.open()
      await late
      await image.flush()
      expect(await counts(state, 5, 1), way).toEqual([0])
    }
  })

  it('does not wait for allocations elsewhere on the disk', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, filled(cluster), 0)
    const gate = newGate()
    file.before = (call) => (call.startsWith('write 0x6') ? gate.promise : undefined)
    const slow = image.write(cluster, filled(cluster, 2), 0)
    await turns()
    await image.write(0, filled(cluster, 3), 0)
    gate.open()
    await slow
    expect(await content(image, 0, 2 * cluster)).toBe(`3 x ${cluster}, 2 x ${cluster}`)
  })

  it('is not made to clusters of which the next is somewhere else', async () => {
    const { image, file } = await fakeImage(small)
    await image.write(512, filled(512, 1), 0)
    await image.write(0, filled(512, 2), 0)
    file.log = []
    await image.write(0, filled(1024, 3), 0)
    expect(writesOf(file)).toHaveLength(2)
    expect(await content(image, 0, 1536)).toBe('3 x 1024, 0 x 512')
  })

  it('is not made where a snapshot shares the cluster', async () => {
    const { image, state } = await fakeImage()
    await image.write(0, filled(cluster), 0)
    await image.snapshots.create({ name: 'one' })
    expect(await mapping(state, 0)).toEqual(['normal 5'])
    await image.write(0, filled(512, 2), 0)
    expect((await mapping(state, 0))[0]).not.toContain('normal 5')
    await image.snapshots.apply('one')
    expect(await content(image, 0, cluster)).toBe(`1 x ${cluster}`)
  })
})

describe('a write of many pieces', () => {
  it('has 32 of them on their way at a time', async () => {
    const { image, file } = await fakeImage(small)
    for (let i = 39; i >= 0; i--) await image.write(i * 512, filled(512), 0)
    file.log = []
    const gates: (() => void)[] = []
    file.before = (call) => (call.startsWith('write') ? new Promise<void>((open) => gates.push(open)) : undefined)
    const written = image.write(0, filled(40 * 512, 3), 0)
    await turns()
    expect(writesOf(file)).toHaveLength(32)
    gates[0]!()
    await turns()
    expect(writesOf(file)).toHaveLength(1)
    for (let i = 1; i < 40; i++) {
      gates[i]!()
      await turns(1)
    }
    await written
    expect(await content(image, 0, 41 * 512)).toBe('3 x 20480, 0 x 512')
  })

  it('starts no more after one has failed, and waits for those on their way', async () => {
    const { image, file } = await fakeImage(small)
    for (let i = 39; i >= 0; i--) await image.write(i * 512, filled(512), 0)
    file.log = []
    const gate = newGate()
    let writes = 0
    file.before = (call) => {
      if (!call.startsWith('write')) return undefined
      return ++writes === 1 ? Promise.reject(new BlockError('EIO', 'broken')) : gate.promise
    }
    let over = false
    const written = image.write(0, filled(40 * 512, 3), 0).finally(() => {
      over = true
    })
    void written.catch(() => undefined)
    await turns()
    expect(over).toBe(false)
    gate.open()
    await expect(written).rejects.toThrow('broken')
    expect(writes).toBe(32)
  })

  it('ends with its signal, after what is on its way', async () => {
    const { image, file } = await fakeImage(small)
    const controller = new AbortController()
    file.before = (call) => {
      if (call.startsWith('write')) controller.abort(new BlockError('ECANCELED', 'aborted'))
      return undefined
    }
    const written = image.write(0, filled(256 * 512, 3), 0, controller.signal)
    await expect(written).rejects.toMatchObject({ code: 'ECANCELED' })
    controller.abort()
    await expect(image.write(512 * 600, filled(512), 0, controller.signal)).rejects.toMatchObject({ code: 'ECANCELED' })
  })

  it('covers what is new, what is written in place and what is shared, each in its way', async () => {
    const { image, state } = await fakeImage(small, {}, undefined)
    await image.write(512, filled(512, 1), 0)
    await image.write(3 * 512, filled(512, 1), 0)
    await image.writeZeroes(3 * 512, 512, 0)
    await image.writeZeroes(4 * 512, 512, Flag.MayUnmap)
    await image.write(6 * 512, filled(512, 1), Flag.Compressed)
    const before = await mapping(state, 0, 8)
    await image.write(100, filled(8 * 512 - 200, 7), 0)
    const after = await mapping(state, 0, 8)
    expect(after.every((text) => /^normal \d+ copied$/.test(text))).toBe(true)
    expect(after[1]).toBe(before[1])
    expect(after[3]).toBe(before[3]!.replace('zeroAllocated', 'normal'))
    expect(await content(image, 0, 8 * 512)).toBe('0 x 100, 7 x 3896, 0 x 100')
  })
})

describe('writes that meet', () => {
  it('in one new cluster wait for each other, and use one cluster', async () => {
    const { image, file, state } = await fakeImage()
    const gate = newGate()
    file.before = (call) => (call.startsWith('write 0x5') ? gate.promise : undefined)
    const first = image.write(0, filled(512, 1), 0)
    const second = image.write(512, filled(512, 2), 0)
    await turns()
    gate.open()
    await Promise.all([first, second])
    expect(await content(image, 0, 2048)).toBe('1 x 512, 2 x 512, 0 x 1024')
    expect(await counts(state, 4, 4)).toEqual([1, 1, 0, 0])
  })

  it('in a part of a run go on with what is free before and behind it', async () => {
    const { image, file, state } = await fakeImage()
    const gate = newGate()
    file.before = (call) => (call.startsWith('write 0x5') ? gate.promise : undefined)
    const first = image.write(2 * cluster, filled(512, 1), 0)
    await turns()
    file.log = []
    const second = image.write(0, filled(4 * cluster, 2), 0)
    await turns()
    expect(writesOf(file)).toEqual([`write 0x60000+${2 * cluster}`])
    gate.open()
    await Promise.all([first, second])
    expect(await content(image, 0, 4 * cluster)).toBe(`2 x ${4 * cluster}`)
    expect((await mapping(state, 0, 4)).map((text) => text.split(' ')[1])).toEqual(['6', '7', '5', '8'])
  })

  it('with a flush in between are not stuck when the mutex is waited for', async () => {
    const { image } = await fakeImage(small)
    const work: Promise<unknown>[] = []
    for (let i = 0; i < 40; i++) {
      work.push(image.write((i % 7) * 512 + 100, filled(700, i + 1), 0))
      if (i % 5 === 0) work.push(image.flush())
    }
    await Promise.all(work)
    await image.close()
  })

  it('give back their clusters when they fail, and let those go on that wait', async () => {
    const { image, file, state } = await fakeImage()
    const gate = newGate()
    let failed = false
    file.before = (call) => {
      if (failed || !call.startsWith('write 0x5')) return undefined
      failed = true
      return gate.promise
    }
    const first = image.write(0, filled(512, 1), 0)
    const second = image.write(512, filled(512, 2), 0)
    await turns()
    gate.fail(new BlockError('EIO', 'broken'))
    await expect(first).rejects.toThrow('broken')
    await second
    expect(await content(image, 0, 1024)).toBe('0 x 512, 2 x 512')
    expect(await counts(state, 4, 4)).toEqual([1, 1, 0, 0])
    expect(state.inFlight.isClear(0, state.size)).toBe(true)
    expect(state.mutex.lock()).toBeUndefined()
  })
})

describe('clusters that a write replaces', () => {
  it('are freed when they are not used any more, compressed ones too', async () => {
    const { image, state } = await fakeImage()
    await image.write(0, filled(cluster), Flag.Compressed)
    expect(await counts(state, 5, 2)).toEqual([1, 0])
    await image.write(0, filled(cluster, 2), 0)
    await image.flush()
    expect(await counts(state, 5, 2)).toEqual([0, 1])
  })

  it('behind the zero flag stay taken when a write to them fails', async () => {
    const { image, file, state } = await fakeImage()
    await image.write(0, filled(cluster), 0)
    await image.writeZeroes(0, cluster, 0)
    file.before = (call) => (call.startsWith('write 0x5') ? Promise.reject(new BlockError('EIO', 'x')) : undefined)
    await expect(image.write(0, filled(512, 2), 0)).rejects.toThrow('x')
    expect(await counts(state, 5, 2)).toEqual([1, 0])
    expect(await mapping(state, 0)).toEqual(['zeroAllocated 5 copied'])
    file.before = () => undefined
    await image.write(100, filled(512, 2), 0)
    expect(await mapping(state, 0)).toEqual(['normal 5 copied'])
    await image.flush()
    expect(await counts(state, 5, 2)).toEqual([1, 0])
  })

  it('behind the zero flag are used from the one that the write begins in', async () => {
    const { image, state } = await fakeImage()
    await image.write(0, filled(4 * cluster), 0)
    await image.writeZeroes(0, 4 * cluster, 0)
    await image.write(cluster + 100, filled(2 * cluster, 2), 0)
    expect(await mapping(state, 0, 4)).toEqual([
      'zeroAllocated 5 copied',
      ...['normal 6 copied', 'normal 7 copied', 'normal 8 copied'],
    ])
    expect(await content(image, 0, 4 * cluster)).toBe('0 x 65636, 2 x 131072, 0 x 65436')
  })

  it('behind the zero flag are written as one with data that stands in a row with them', async () => {
    const { image, file, state } = await fakeImage()
    await image.write(0, filled(4 * cluster), 0)
    await image.writeZeroes(cluster, cluster, 0)
    await image.writeZeroes(3 * cluster, cluster, 0)
    file.log = []
    await image.write(512, filled(4 * cluster - 1024, 2), 0)
    expect(writesOf(file)).toEqual([`write 0x50200+${4 * cluster - 512}`])
    expect(await mapping(state, 0, 4)).toEqual([5, 6, 7, 8].map((at) => `normal ${at} copied`))
    expect(await content(image, 0, 4 * cluster)).toBe(`1 x 512, 2 x ${4 * cluster - 1024}, 0 x 512`)
    await image.writeZeroes(0, cluster, 0)
    file.log = []
    await image.write(cluster, filled(cluster, 3), 0)
    expect(writesOf(file)).toEqual([`write 0x60000+${cluster}`])
    expect(await mapping(state, 0)).toEqual(['zeroAllocated 5 copied'])
  })

  it('behind the zero flag, and the data beside them, lose nothing that is written meanwhile', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, filled(3 * cluster), 0)
    await image.writeZeroes(cluster, cluster, 0)
    const [inPlaceGate, acrossGate] = [newGate(), newGate()]
    file.before = (call) => {
      if (call.startsWith('write 0x50000+512')) return inPlaceGate.promise
      return call.startsWith('write 0x5') ? acrossGate.promise : undefined
    }
    const inPlace = image.write(0, filled(512, 3), 0)
    const across = image.write(1024, filled(2 * cluster, 2), 0)
    await turns()
    inPlaceGate.open()
    await inPlace
    acrossGate.open()
    await across
    expect(await content(image, 0, 3 * cluster)).toBe(`3 x 512, 1 x 512, 2 x ${2 * cluster}, 1 x ${cluster - 1024}`)
  })

  it('behind the zero flag that a snapshot shares are left to it', async () => {
    const { image, state } = await fakeImage()
    await image.write(0, filled(cluster), 0)
    await image.writeZeroes(0, cluster, 0)
    await image.snapshots.create({ name: 'one' })
    await image.write(0, filled(512, 2), 0)
    expect((await mapping(state, 0))[0]).not.toContain(' 5 ')
    expect(await content(image, 0, 1024)).toBe('2 x 512, 0 x 512')
  })
})

describe('a write with much metadata in memory', () => {
  it('writes the mapping before there is more than the cache may hold', async () => {
    const { image, file, state } = await fakeImage(
      { clusterSize: 512, size: 8 * 1024 * 1024 },
      { l2CacheSize: 2048, refcountCacheSize: 2048 },
    )
    for (let i = 0; i < 64; i++) {
      await image.write(i * 32 * 1024, filled(512, i + 1), 0)
      expect(state.store.l2.bytes).toBeLessThanOrEqual(8 * 512)
    }
    await image.close()
    const again = await fakeImage({}, {}, { file })
    for (let i = 0; i < 64; i++) expect(await content(again.image, i * 32 * 1024, 512)).toBe(`${i + 1} x 512`)
  })

  it('settles clusters that were freed before there are too many', async () => {
    const { image, state } = await fakeImage({ clusterSize: 2 * 1024 * 1024, size: 256 * 1024 * 1024 })
    state.frees.add(100 * 2 * 1024 * 1024, 65 * 1024 * 1024, 'never')
    expect(state.frees.crowded).toBe(true)
    await image.write(0, filled(512), 0)
    expect(state.frees.crowded).toBe(false)
  })
})

describe('an image that is marked as corrupt', () => {
  it('refuses writes, in place and elsewhere', async () => {
    const { image, file, state } = await fakeImage({}, {}, undefined)
    await image.write(0, filled(cluster), 0)
    await state.corruption.report('damaged').catch(() => undefined)
    file.log = []
    for (const offset of [0, cluster]) {
      await expect(image.write(offset, filled(512), 0)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
    }
    expect(file.take()).toEqual([])
  })

  it('refuses to link what was on its way when the damage was found', async () => {
    const { image, file, state } = await fakeImage({}, {}, { backing: fileOf(cluster, 5) } as never)
    const gate = newGate()
    file.before = (call) => (call.startsWith('write 0x5') ? gate.promise : undefined)
    const written = image.write(0, filled(cluster), 0)
    await turns()
    await state.corruption.report('damaged').catch(() => undefined)
    gate.open()
    await expect(written).rejects.toMatchObject({ code: 'ENOMEDIUM' })
  })
})
