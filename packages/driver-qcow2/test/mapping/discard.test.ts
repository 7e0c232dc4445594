/** Discards: which clusters they concern, and what these are afterwards. */
import { Flag } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { discardRange } from '../../src/mapping/changes.ts'
import { type FakeImage, fakeImage } from '../fake-file.ts'
import { content, counts, fileOf, filled, mapping } from '../mapping.ts'

const cluster = 65536

/** An image of `clusters` clusters of data, the disk ending in the middle of the next. */
async function imageOf(
  clusters: number,
  create: Record<string, unknown> = {},
  options: Record<string, unknown> = {},
  backing?: number,
): Promise<FakeImage> {
  const made = await fakeImage({ size: clusters * cluster + 1024, ...create })
  await made.image.close()
  const given = backing === undefined ? {} : { backing: fileOf(backing, 5) }
  const opened = await fakeImage({}, options, { file: made.file, ...given })
  await opened.image.write(0, filled(clusters * cluster), 0)
  await opened.image.flush()
  return opened
}

const full = { full: true, reason: 'other' } as const

describe('a discard', () => {
  it('concerns whole clusters', async () => {
    const { image, state } = await imageOf(5)
    await image.discard(1, 3 * cluster)
    const gone = ['normal 5 copied', 'zero', 'zero', 'normal 8 copied', 'normal 9 copied']
    expect(await mapping(state, 0, 5)).toEqual(gone)
    await image.discard(4 * cluster - 1, cluster - 1)
    await image.discard(4 * cluster + 1, 10)
    await image.discard(3 * cluster, cluster - 1)
    expect(await mapping(state, 0, 5)).toEqual(gone)
    await image.discard(3 * cluster, cluster)
    expect(await mapping(state, 3 * cluster, 2)).toEqual(['zero', 'normal 9 copied'])
    expect(await content(image, 0, 5 * cluster)).toBe(`1 x ${cluster}, 0 x ${3 * cluster}, 1 x ${cluster}`)
  })

  it('concerns the last cluster when it goes to the end of the disk', async () => {
    const { image, state } = await imageOf(1)
    await image.write(cluster, filled(1024), 0)
    await image.discard(cluster, 512)
    expect(await mapping(state, cluster)).toEqual(['normal 6 copied'])
    await image.discard(cluster, 1024)
    expect(await mapping(state, cluster)).toEqual(['zero'])
  })

  it('frees what its clusters were, compressed data too, and leaves empty ones as they are', async () => {
    const { image, state } = await imageOf(2)
    await image.write(cluster, filled(cluster, 9), 0)
    await discardRange(state, cluster, cluster, full)
    await image.write(cluster, filled(cluster, 2), Flag.Compressed)
    await image.flush()
    const place = state.allocator
    expect(place).toBeDefined()
    await image.discard(0, 2 * cluster)
    await image.flush()
    expect(await mapping(state, 0, 2)).toEqual(['zero', 'zero'])
    expect(await counts(state, 5, 3)).toEqual([0, 0, 0])
    await discardRange(state, 0, 2 * cluster, full)
    expect(await mapping(state, 0, 2)).toEqual(['unallocated', 'unallocated'])
    await image.flush()
    await image.discard(0, 2 * cluster)
    expect(await mapping(state, 0, 2)).toEqual(['unallocated', 'unallocated'])
    expect(state.store.mappingDirty).toBe(false)
  })

  it('changes nothing twice', async () => {
    const { image, state } = await imageOf(2, {}, {}, 2 * cluster)
    await image.discard(0, cluster)
    await image.flush()
    await image.discard(0, cluster)
    expect(state.store.mappingDirty).toBe(false)
  })

  it('lets clusters read as zeroes above a backing file, unless it is a full one', async () => {
    const { image, state } = await imageOf(3, {}, {}, 4 * cluster)
    await image.discard(0, cluster)
    await discardRange(state, cluster, cluster, full)
    await image.discard(3 * cluster, 1024)
    expect(await mapping(state, 0, 4)).toEqual(['zero', 'unallocated', 'normal 7 copied', 'zero'])
    expect(await content(image, 0, 3 * cluster)).toBe(`0 x ${cluster}, 5 x ${cluster}, 1 x ${cluster}`)
  })

  it('makes an L2 table above a backing file alone, and not when it is a full one', async () => {
    const size = 1024 * 1024
    for (const [backing, settings, expected] of [
      [undefined, { full: false, reason: 'other' }, 0],
      [size, full, 0],
      [size, { full: false, reason: 'other' }, 1],
    ] as const) {
      const made = await fakeImage({ size, clusterSize: 512 })
      await made.image.close()
      const given = backing === undefined ? {} : { backing: fileOf(backing, 5) }
      const { state } = await fakeImage({}, {}, { file: made.file, ...given })
      await discardRange(state, 0, 1024, settings)
      expect(Math.sign(state.store.l1.offsetAt(0))).toBe(expected)
    }
  })

  it('of a version 2 image leaves nothing, and is refused above a backing file', async () => {
    const { image, state } = await imageOf(2, { compat: 'v2' })
    await image.discard(0, cluster)
    expect(await mapping(state, 0, 2)).toEqual(['unallocated', 'normal 6 copied'])
    const other = await imageOf(2, { compat: 'v2' }, {}, 2 * cluster)
    await expect(other.image.discard(0, cluster)).rejects.toMatchObject({
      code: 'ENOTSUP',
      message: 'a version 2 image cannot discard: the backing file would show',
    })
    await discardRange(other.state, 0, cluster, full)
    expect(await content(other.image, 0, 2 * cluster)).toBe(`5 x ${cluster}, 1 x ${cluster}`)
  })

  it('keeps clusters behind the zero flag where they must not be freed', async () => {
    const { image, state } = await imageOf(3, {}, { discardNoUnref: true })
    await discardRange(state, 2 * cluster, cluster, full)
    await image.write(2 * cluster, filled(cluster), Flag.Compressed)
    await image.discard(0, 3 * cluster)
    expect(await mapping(state, 0, 3)).toEqual(['zeroAllocated 5 copied', 'zeroAllocated 6 copied', 'zero'])
    await image.flush()
    expect(await counts(state, 5, 2)).toEqual([1, 1])
    await discardRange(state, 0, cluster, full)
    expect(await mapping(state, 0, 1)).toEqual(['unallocated'])
    await image.flush()
    expect(await counts(state, 5, 1)).toEqual([0])
  })

  it('frees clusters that were kept behind the zero flag', async () => {
    const { image, state } = await imageOf(1)
    await image.writeZeroes(0, cluster, 0)
    expect(await mapping(state, 0)).toEqual(['zeroAllocated 5 copied'])
    await image.discard(0, cluster)
    await image.flush()
    expect(await mapping(state, 0)).toEqual(['zero'])
    expect(await counts(state, 5, 1)).toEqual([0])
  })

  it('is refused of an image that is marked as corrupt', async () => {
    const { image, state } = await imageOf(1)
    state.corruption.broken = true
    await expect(image.discard(0, 10)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
  })
})
