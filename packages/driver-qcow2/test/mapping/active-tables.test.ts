/** L2 tables that come into being, are copied, or turn out to be damaged. */
import { BlockError, Flag } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { ensureTable, freeEntry } from '../../src/mapping/active-tables.ts'
import { type FakeFile, fakeImage } from '../fake-file.ts'
import { content, counts, filled, newGate, turns } from '../mapping.ts'

const cluster = 65536
const span = (cluster / 8) * cluster

/** Sets an entry of the active L1 table on disk, in an image that is closed. */
function setL1(file: FakeFile, index: number, value: bigint): void {
  new DataView(file.bytes.buffer, 3 * cluster).setBigUint64(index * 8, value)
}

/** A closed image with a cluster of data, and its file. */
async function closed(options: Record<string, unknown> = {}): Promise<FakeFile> {
  const { image, file } = await fakeImage(options)
  await image.write(0, filled(cluster), 0)
  await image.close()
  return file
}

describe('an L2 table', () => {
  it('that belongs to the disk alone stays where it is', async () => {
    const { image, file, state } = await fakeImage()
    await image.write(0, filled(512), 0)
    file.log = []
    await ensureTable(state, 0)
    expect(file.log).toEqual([])
    expect(state.store.l1.offsetAt(0)).toBe(4 * cluster)
  })

  it('is made with zeroes where there is none, though the L1 entry says that it is copied', async () => {
    const { image, file } = await fakeImage()
    await image.close()
    setL1(file, 0, 1n << 63n)
    const again = await fakeImage({}, {}, { file })
    await again.image.write(0, filled(512), 0)
    expect(again.state.store.l1.offsetAt(0)).toBe(4 * cluster)
    expect(again.state.store.l1.high(0) >>> 31).toBe(1)
    expect(await content(again.image, 0, 1024)).toBe('1 x 512, 0 x 512')
  })

  it('is copied where a snapshot may share it, and the old one freed', async () => {
    const file = await closed()
    setL1(file, 0, BigInt(4 * cluster))
    const { image, state } = await fakeImage({}, {}, { file })
    await image.write(cluster, filled(512, 2), 0)
    expect(state.store.l1.offsetAt(0)).toBe(6 * cluster)
    expect(file.take('events')).toEqual(
      expect.arrayContaining(['(l2_alloc.cow_read)', '(l2_load)', '(l2_alloc.write)']),
    )
    expect(await content(image, 0, cluster + 1024)).toBe(`1 x ${cluster}, 2 x 512, 0 x 512`)
    await image.flush()
    expect(await counts(state, 4, 1)).toEqual([0])
  })

  it('is copied slice by slice', async () => {
    const { image, file } = await fakeImage()
    for (const index of [0, 512, 8191]) await image.write(index * cluster, filled(512, 3), 0)
    await image.close()
    setL1(file, 0, BigInt(4 * cluster))
    const again = await fakeImage({}, { l2CacheEntrySize: 4096 }, { file })
    await again.image.write(cluster, filled(512, 2), 0)
    expect(again.file.take().filter((call) => call.startsWith('read 0x4'))).toHaveLength(16)
    for (const index of [0, 512, 8191]) expect(await content(again.image, index * cluster, 512)).toBe('3 x 512')
    await again.image.close()
    const third = await fakeImage({}, {}, { file })
    for (const index of [0, 512, 8191]) expect(await content(third.image, index * cluster, 512)).toBe('3 x 512')
    expect(await content(third.image, cluster, 512)).toBe('2 x 512')
  })

  it('of index behind the L1 table is refused', async () => {
    const { state } = await fakeImage()
    await expect(ensureTable(state, 1)).rejects.toMatchObject({
      code: 'EIO',
      message: 'the L1 table has 1 entries, 2 are needed',
    })
    await ensureTable(state, 0)
  })

  it('whose place is not that of a cluster marks the image as corrupt', async () => {
    const file = await closed()
    setL1(file, 0, BigInt(4 * cluster + 512))
    const { state } = await fakeImage({}, {}, { file })
    await expect(ensureTable(state, 0)).rejects.toThrow('L2 table offset 0x40200 unaligned (L1 index: 0)')
    expect(state.corruption.broken).toBe(true)
  })

  it('far behind the end of the file marks the image as corrupt', async () => {
    const file = await closed()
    const far = BigInt(1024 * 1024 * 1024)
    setL1(file, 0, far | (1n << 63n))
    const { state } = await fakeImage({}, {}, { file })
    await expect(ensureTable(state, 0)).rejects.toThrow(
      'L2 table offset 0x40000000 far behind the end of the file (L1 index: 0)',
    )
  })

  it('may end 64 MiB behind the end of the file, and no further', async () => {
    for (const [beyond, code] of [
      [0, undefined],
      [1, 'EIO'],
    ] as const) {
      const file = await closed()
      const offset = (Math.floor(file.size / cluster) + 1024 - 1 + beyond) * cluster
      setL1(file, 0, BigInt(offset) | (1n << 63n))
      const { state } = await fakeImage({}, {}, { file })
      const failure = await ensureTable(state, 0).then(
        () => undefined,
        (error: BlockError) => error.code,
      )
      expect(failure).toBe(code)
    }
  })

  it('is not made on metadata', async () => {
    const { image, file, state } = await fakeImage()
    await state.refcounts.update(1, 1, -1)
    file.log = []
    await expect(image.write(0, filled(512), 0)).rejects.toThrow('overlaps with refcount table')
    expect(file.take().filter((call) => call.startsWith('write 0x1'))).toEqual([])
  })

  it('that cannot be written gives its cluster back, and can be made later', async () => {
    const { image, file, state } = await fakeImage()
    file.before = (call) =>
      call.startsWith('write 0x4') ? Promise.reject(new BlockError('ENOSPC', 'full')) : undefined
    await expect(image.write(0, filled(512), 0)).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(await counts(state, 4, 1)).toEqual([0])
    expect(state.store.l1.offsetAt(0)).toBe(0)
    file.before = () => undefined
    await image.write(0, filled(512), 0)
    expect(state.store.l1.offsetAt(0)).toBe(4 * cluster)
  })

  it('waits for each of its events', async () => {
    for (const [event, shared] of [
      ['l2_alloc.write', false],
      ['l2_alloc.cow_read', true],
      ['l2_alloc.write', true],
    ] as const) {
      const file = await closed()
      setL1(file, 0, shared ? BigInt(4 * cluster) : 0n)
      const { image } = await fakeImage({}, {}, { file })
      const gate = newGate()
      let raised = 0
      file.debugEvent = (name) => (name === event && raised++ === 0 ? gate.promise : undefined)
      const written = image.write(cluster, filled(512, 2), 0)
      await turns()
      expect(file.take().filter((call) => call.startsWith('write 0x6'))).toEqual([])
      gate.open()
      await written
      expect(raised).toBe(1)
    }
  })
})

describe('the places of L2 tables', () => {
  it('follow from the guest offset', async () => {
    const { state } = await fakeImage({ size: 4 * span })
    expect([0, span - 1, span, 2 * span + 5].map((offset) => state.map.l1Index(offset))).toEqual([0, 0, 1, 2])
  })

  it('that exist are found from any offset on', async () => {
    const { image, state } = await fakeImage({ size: 4 * span })
    await image.write(2 * span, filled(512), 0)
    expect(state.map.next(0)).toBe(2 * span)
    expect(state.map.next(2 * span)).toBe(2 * span)
    expect(state.map.next(2 * span + 512)).toBe(2 * span + 512)
    expect(state.map.next(3 * span)).toBe(Number.POSITIVE_INFINITY)
    expect(state.map.next(9 * span)).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('what an L2 entry pointed to', () => {
  it('is freed: a cluster, or all clusters that compressed data touches', async () => {
    const { state } = await fakeImage()
    freeEntry(state, 0x80000000, 5 * cluster, 'request')
    freeEntry(state, 0x80000000, (7 * cluster) | 1, 'request')
    freeEntry(state, 0x40000000 + 2 * 2 ** 22, 9 * cluster - 512, 'other')
    freeEntry(state, 0, 0, 'other')
    freeEntry(state, 0, 1, 'other')
    expect(state.frees.takeUntouched().map(({ start, count, reason }) => [start, count, reason])).toEqual([
      [5, 1, 'request'],
      [7, 1, 'request'],
      [8, 2, 'other'],
    ])
  })

  it('is left alone, with one warning, where it is damaged', async () => {
    const { state, warnings } = await fakeImage()
    freeEntry(state, 0x80000000, 5 * cluster + 512, 'request')
    freeEntry(state, 0x80200000, 5 * cluster, 'request')
    expect(state.frees.empty).toBe(true)
    expect(warnings).toEqual([
      'qcow2: Image is corrupt: Cannot free unaligned cluster 0x50200; further non-fatal corruption events will be suppressed',
    ])
    freeEntry(state, 0x403fffff, 0xfffffe00, 'other')
    expect(state.frees.empty).toBe(true)
    freeEntry(state, 0x401fffff, 0xfffff000, 'other')
    expect(state.frees.empty).toBe(false)
  })

  it('is all of it at its place after a discard of compressed data', async () => {
    const { image, state } = await fakeImage()
    await image.write(0, filled(cluster), Flag.Compressed)
    await image.discard(0, cluster)
    await image.flush()
    expect(await counts(state, 5, 2)).toEqual([0, 0])
  })
})
