/** Internal snapshots by their steps: ids, sizes, what is refused, and what the counts are afterwards. */
import { BlockError, Flag, systemClock } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { FakeFile, type FakeImage, fakeImage } from '../fake-file.ts'
import { content, counts, filled, mapping } from '../mapping.ts'

const cluster = 4096
const span = (cluster / 8) * cluster
const MiB = 1024 * 1024

/** An image with data in its first four clusters. */
async function imageOf(
  create: Record<string, unknown> = {},
  options: Record<string, unknown> = {},
): Promise<FakeImage> {
  const made = await fakeImage({ clusterSize: cluster, size: 4 * MiB, ...create }, options)
  if (made.image.size > 0) await made.image.write(0, filled(4 * cluster), 0)
  return made
}

function reopened(file: FakeFile, options: Record<string, unknown> = {}): Promise<FakeImage> {
  return fakeImage({}, options, { file })
}

/** The image is closed, and a check of it finds no fault. */
async function expectSound({ image, file }: FakeImage): Promise<void> {
  await image.close()
  const again = await reopened(file)
  const found: string[] = []
  const onFinding = (kind: string, text: string): void => void found.push(`${kind}: ${text}`)
  const check = await again.image.check({ repair: 'none', onFinding })
  expect(found).toEqual([])
  expect(check).toMatchObject({ corruptions: 0, leaks: 0 })
}

describe('a snapshot that is created', () => {
  it('is listed with what was asked for, and with what was not', async () => {
    const { image, state } = await imageOf()
    Object.assign(state, { host: { ...state.host, clock: { ...systemClock, wallTime: () => 1_600_000_000_123 } } })
    const first = await image.snapshots.create({ name: 'one' })
    expect(first).toMatchObject({
      id: '1',
      name: 'one',
      vmStateSize: 0,
      dateSeconds: 1_600_000_000,
      dateNanoseconds: 123_000_000,
      vmClockNanoseconds: 0,
      diskSize: 4 * MiB,
    })
    expect(first.icount).toBeUndefined()
    const second = await image.snapshots.create({ name: 'two', dateSeconds: 7, vmClockNanoseconds: 9, icount: 3 })
    expect(second).toMatchObject({ id: '2', dateSeconds: 7, dateNanoseconds: 0, vmClockNanoseconds: 9, icount: 3 })
    const third = await image.snapshots.create({ name: 'three', dateSeconds: 7, dateNanoseconds: 8 })
    expect(third).toMatchObject({ dateNanoseconds: 8 })
    expect(image.snapshots.list()).toEqual([first, second, third])
  })

  it('has an id above all numbers that ids begin with', async () => {
    const { image } = await imageOf()
    await image.snapshots.create({ name: 'a', id: '12' })
    await image.snapshots.create({ name: 'b', id: '30x' })
    await image.snapshots.create({ name: 'c', id: 'x99' })
    expect((await image.snapshots.create({ name: 'd' })).id).toBe('31')
    await image.snapshots.create({ name: 'e', id: '99999999999999999999' })
    expect((await image.snapshots.create({ name: 'f' })).id).toBe('9007199254740991')
  })

  it('is refused where its id is taken, or there are as many as there can be', async () => {
    const { image, state } = await imageOf()
    await image.snapshots.create({ name: 'one', id: 'x' })
    await expect(image.snapshots.create({ name: 'two', id: 'x' })).rejects.toMatchObject({
      code: 'EEXIST',
      message: "a snapshot with the id 'x' exists already",
    })
    const [record] = state.snapshots
    state.snapshots = new Array(65536).fill(record)
    await expect(image.snapshots.create({ name: 'two' })).rejects.toMatchObject({
      code: 'EFBIG',
      message: 'the image has as many snapshots as it can have',
    })
  })

  it('shares all clusters, and the disk has tables of its own', async () => {
    const made = await imageOf()
    const { image, state } = made
    const hosts = await mapping(state, 0, 4)
    const l1 = state.store.l1.offset
    await image.snapshots.create({ name: 'one' })
    expect(state.store.l1.offset).not.toBe(l1)
    expect(await mapping(state, 0, 4)).toEqual(hosts.map((text) => text.replace(' copied', '')))
    const host = Number(hosts[0]!.split(' ')[1])
    expect(await counts(state, host, 4)).toEqual([2, 2, 2, 2])
    await expectSound(made)
  })

  it('with VM state has that for itself', async () => {
    const made = await imageOf({ size: span })
    const { image, state } = made
    await image.vmState.write(0, filled(2 * cluster, 7))
    expect(state.store.l1.offsetAt(1)).not.toBe(0)
    await image.snapshots.create({ name: 'one', vmStateSize: 2 * cluster })
    expect(state.store.l1.offsetAt(1)).toBe(0)
    expect(state.store.l1.offsetAt(0)).not.toBe(0)
    await image.snapshots.apply('one')
    const buf = new Uint8Array(cluster)
    await image.vmState.read(cluster, buf)
    expect(buf).toEqual(filled(cluster, 7))
    await expectSound(made)
  })

  it('without VM state keeps what is behind the disk for both', async () => {
    const { image, state } = await imageOf({ size: span })
    await image.vmState.write(0, filled(2 * cluster, 7))
    await image.snapshots.create({ name: 'one' })
    expect(state.store.l1.offsetAt(1)).not.toBe(0)
  })

  it('of an empty disk has no table', async () => {
    const made = await imageOf({ size: 0 })
    const { image, state } = made
    await image.snapshots.create({ name: 'one' })
    expect(state.snapshots[0]).toMatchObject({ l1Entries: state.store.l1.entries, diskSize: 0 })
    await image.snapshots.apply('one')
    await image.snapshots.delete('one')
    await expectSound(made)
  })

  it('is there when the image is opened again', async () => {
    const made = await imageOf()
    const info = await made.image.snapshots.create({ name: 'one' })
    await made.image.write(0, filled(cluster, 2), 0)
    await made.image.close()
    const again = await reopened(made.file)
    expect(again.image.snapshots.list()).toEqual([info])
    expect(await content(again.image, 0, 2 * cluster)).toBe(`2 x ${cluster}, 1 x ${cluster}`)
    await again.image.snapshots.apply('one')
    expect(await content(again.image, 0, 2 * cluster)).toBe(`1 x ${2 * cluster}`)
    await expectSound(again)
  })
})

describe('a snapshot that is applied', () => {
  it('brings back what the disk was, and gives up what it is', async () => {
    const made = await imageOf()
    const { image, state } = made
    await image.snapshots.create({ name: 'one' })
    await image.write(cluster, filled(cluster, 2), 0)
    await image.write(8 * cluster, filled(cluster, 3), Flag.Compressed)
    await image.flush()
    const gone = Number((await mapping(state, cluster))[0]!.split(' ')[1])
    expect(await counts(state, gone, 1)).toEqual([1])
    await image.snapshots.apply('one')
    expect(await content(image, 0, 9 * cluster)).toBe(`1 x ${4 * cluster}, 0 x ${5 * cluster}`)
    expect(await counts(state, gone, 1)).toEqual([0])
    await image.write(0, filled(cluster, 9), 0)
    await image.snapshots.apply('1')
    expect(await content(image, 0, cluster)).toBe(`1 x ${cluster}`)
    await expectSound(made)
  })

  it('is looked for by its id before its name, and missing in so many words', async () => {
    const { image } = await imageOf()
    await image.snapshots.create({ name: '2' })
    await image.write(0, filled(cluster, 2), 0)
    await image.snapshots.create({ name: '1' })
    await image.snapshots.apply('1')
    expect(await content(image, 0, cluster)).toBe(`1 x ${cluster}`)
    await image.snapshots.apply('2')
    expect(await content(image, 0, cluster)).toBe(`2 x ${cluster}`)
    for (const work of [() => image.snapshots.apply('no'), () => image.snapshots.delete('no')]) {
      await expect(work()).rejects.toMatchObject({ code: 'ENOENT', message: "the image has no snapshot 'no'" })
    }
  })

  it('brings back the size of the disk, larger and smaller', async () => {
    const made = await imageOf({ size: span })
    const { image, state } = made
    await image.snapshots.create({ name: 'small' })
    await image.truncate(5 * span, { preallocation: 'off', exact: false })
    await image.write(4 * span, filled(cluster, 6), 0)
    await image.snapshots.create({ name: 'large' })
    await image.snapshots.apply('small')
    expect([image.size, state.store.l1.entries]).toEqual([span, 1])
    const copy = new FakeFile()
    copy.bytes = made.file.bytes.slice()
    expect((await reopened(copy)).image.size).toBe(span)
    await image.snapshots.apply('large')
    expect([image.size, state.store.l1.entries]).toEqual([5 * span, 5])
    expect(await content(image, 4 * span, cluster)).toBe(`6 x ${cluster}`)
    await expectSound(made)
    expect((await reopened(made.file)).image.size).toBe(5 * span)
  })

  it('of another size is refused in version 2', async () => {
    const { image, state } = await imageOf({ compat: 'v2' })
    await image.snapshots.create({ name: 'one' })
    await image.snapshots.apply('one')
    const [record] = state.snapshots
    state.snapshots = [{ ...record!, diskSize: 2 * MiB }]
    await expect(image.snapshots.apply('one')).rejects.toMatchObject({
      code: 'ENOTSUP',
      message: "Can't resize a v2 image which has snapshots",
    })
  })

  it('has the size of the disk where it says none, in whole sectors', async () => {
    const { image, state } = await imageOf()
    await image.snapshots.create({ name: 'one' })
    const [record] = state.snapshots
    state.snapshots = [{ ...record!, diskSize: undefined }]
    await image.snapshots.apply('one')
    expect(image.size).toBe(4 * MiB)
    state.snapshots = [{ ...record!, diskSize: MiB + 700 }]
    await image.snapshots.apply('one')
    expect(image.size).toBe(MiB + 512)
  })

  it('is refused where its size cannot be', async () => {
    const { image, state } = await imageOf()
    await image.snapshots.create({ name: 'one' })
    const [record] = state.snapshots
    const most = (32 * MiB) / 8
    for (const diskSize of [2 ** 60, most * span + 512]) {
      state.snapshots = [{ ...record!, diskSize }]
      await expect(image.snapshots.apply('one')).rejects.toMatchObject({
        code: 'EFBIG',
        message: "the disk size of snapshot '1' is too large",
      })
    }
  })
})

describe('a snapshot that is deleted', () => {
  it('leaves the others and the disk, and what nobody else uses is free', async () => {
    const made = await imageOf()
    const { image, state } = made
    await image.snapshots.create({ name: 'one' })
    const old = Number((await mapping(state, 0))[0]!.split(' ')[1])
    await image.write(0, filled(cluster, 2), 0)
    await image.snapshots.create({ name: 'two' })
    await image.write(0, filled(cluster, 3), 0)
    expect(await counts(state, old, 1)).toEqual([1])
    await image.snapshots.delete('one')
    expect(await counts(state, old, 1)).toEqual([0])
    expect(image.snapshots.list().map(({ name }) => name)).toEqual(['two'])
    expect(await content(image, 0, 2 * cluster)).toBe(`3 x ${cluster}, 1 x ${cluster}`)
    await image.snapshots.apply('two')
    expect(await content(image, 0, 2 * cluster)).toBe(`2 x ${cluster}, 1 x ${cluster}`)
    await expectSound(made)
  })

  it('lets the disk write in place again what only it uses', async () => {
    const made = await imageOf()
    const { image, state } = made
    const before = await mapping(state, 0, 4)
    await image.snapshots.create({ name: 'one' })
    await image.snapshots.delete('one')
    expect(await mapping(state, 0, 4)).toEqual(before)
    expect(image.snapshots.list()).toEqual([])
    await expectSound(made)
  })

  it('with nothing that the disk shares leaves its table where it is', async () => {
    const made = await imageOf()
    const { image, state } = made
    await image.snapshots.create({ name: 'one' })
    await image.write(0, filled(4 * cluster, 2), 0)
    await image.flush()
    const { offset } = state.store.l1
    await image.snapshots.delete('one')
    expect(state.store.l1.offset).toBe(offset)
    await expectSound(made)
  })

  it('is dropped from the storage where discards of snapshots are passed on', async () => {
    for (const [passDiscardSnapshot, expected] of [
      [true, true],
      [false, false],
    ]) {
      const { image, file, state } = await imageOf({}, { passDiscardSnapshot })
      await image.snapshots.create({ name: 'one' })
      const old = Number((await mapping(state, 0))[0]!.split(' ')[1])
      await image.write(0, filled(4 * cluster, 2), 0)
      file.log = []
      await image.snapshots.delete('one')
      const dropped = file.take().filter((call) => call.startsWith('discard'))
      const covers = dropped.some((call) => {
        const [offset, length] = call.slice('discard '.length).split('+').map(Number) as [number, number]
        return offset <= old * cluster && offset + length >= (old + 4) * cluster
      })
      expect(covers).toBe(expected)
    }
  })
})

describe('a change of snapshots', () => {
  const works: Readonly<Record<string, (image: FakeImage['image']) => Promise<unknown>>> = {
    'creating one': (image) => image.snapshots.create({ name: 'two' }),
    'applying one': (image) => image.snapshots.apply('one'),
    'deleting one': (image) => image.snapshots.delete('one'),
  }
  for (const [name, work] of Object.entries(works)) {
    it(`leaves everything as it was when ${name} fails, and no cluster taken`, async () => {
      const { image, file, state } = await imageOf()
      await image.snapshots.create({ name: 'one' })
      await image.write(0, filled(cluster, 2), 0)
      await image.flush()
      const before = { list: image.snapshots.list(), counts: await counts(state, 0, 60), l1: state.store.l1.offset }
      file.before = (call) => (call === 'flush' ? Promise.reject(new BlockError('EIO', 'broken')) : undefined)
      await expect(work(image)).rejects.toThrow('broken')
      file.before = () => undefined
      const after = { list: image.snapshots.list(), counts: await counts(state, 0, 60), l1: state.store.l1.offset }
      expect(after).toEqual(before)
      expect(await content(image, 0, 2 * cluster)).toBe(`2 x ${cluster}, 1 x ${cluster}`)
      await image.snapshots.create({ name: 'later' })
    })

    it(`is refused for ${name} in a read-only image, and in one that is corrupt`, async () => {
      const { image, state } = await imageOf()
      await image.snapshots.create({ name: 'one' })
      state.readOnly = true
      await expect(work(image)).rejects.toMatchObject({
        code: 'EROFS',
        message: 'the image is read-only: its snapshots cannot be changed',
      })
      state.readOnly = false
      state.corruption.broken = true
      await expect(work(image)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
    })
  }

  it('writes all that was dirty first, so that nothing of it is in memory alone', async () => {
    const { image, file, state } = await imageOf({ lazyRefcounts: true })
    expect(state.header.dirty).toBe(true)
    await image.snapshots.create({ name: 'one' })
    expect(state.header.dirty).toBe(false)
    const copy = new FakeFile()
    copy.bytes = file.bytes.slice()
    const again = await reopened(copy)
    expect(await content(again.image, 0, 4 * cluster)).toBe(`1 x ${4 * cluster}`)
    expect(again.image.snapshots.list()).toHaveLength(1)
  })
})

describe('a snapshot that is shown', () => {
  it('is seen through a read-only image alone, with the size that the disk had', async () => {
    const { image, file } = await imageOf()
    await image.snapshots.create({ name: 'one' })
    await image.write(0, filled(cluster, 2), 0)
    await image.truncate(8 * MiB, { preallocation: 'off', exact: false })
    await expect(image.snapshots.load('one')).rejects.toMatchObject({
      code: 'EINVAL',
      message: 'a snapshot can only be shown through a read-only image',
    })
    await image.close()
    const shown = await reopened(Object.assign(file, { readOnly: true }))
    expect(await content(shown.image, 0, cluster)).toBe(`2 x ${cluster}`)
    await expect(shown.image.snapshots.load('no')).rejects.toMatchObject({
      code: 'ENOENT',
      message: "Can't find snapshot",
    })
    await shown.image.snapshots.load('one')
    expect(shown.image.size).toBe(4 * MiB)
    expect(await content(shown.image, 0, cluster)).toBe(`1 x ${cluster}`)
  })
})
