/** Counts of references: how they change, and what happens when they cannot. */
import { BlockError } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { miscounted } from '../../src/refcounts/refcounts.ts'
import type { FileRange } from '../../src/tables/overlap.ts'
import { type FakeFile, type FakeImage, fakeImage } from '../fake-file.ts'
import { counts, filled, newGate, turns } from '../mapping.ts'

const cluster = 65536
const small = { clusterSize: 512, refcountBits: 64, size: 1024 * 1024 }

/** Writes an entry of the refcount table of a closed image. */
function setBlock(file: FakeFile, index: number, value: bigint): void {
  new DataView(file.bytes.buffer, cluster).setBigUint64(index * 8, value)
}

async function damaged(value: bigint): Promise<FakeImage> {
  const { image, file } = await fakeImage()
  await image.write(0, filled(512), 0)
  await image.close()
  setBlock(file, 0, value)
  return fakeImage({}, {}, { file })
}

describe('the count of a cluster', () => {
  it('is 0 where no block exists, inside the table and behind it', async () => {
    const { state } = await fakeImage()
    expect(await counts(state, 32768 * 3, 1)).toEqual([0])
    expect(state.refcounts.peek(32768 * 8192 + 7)).toBe(0)
    expect(state.refcounts.blockOffset(8192)).toBe(0)
    expect(state.refcounts.reach).toBe(8192 * 32768)
    expect(state.refcounts.tableEntries).toBe(8192)
  })

  it('is not known from memory before its block was read', async () => {
    const made = await fakeImage()
    await made.image.write(0, filled(512), 0)
    await made.image.close()
    const { state, file } = await fakeImage({}, {}, { file: made.file })
    expect(state.refcounts.peek(5)).toBe(-1)
    expect(await counts(state, 3, 4)).toEqual([1, 1, 1, 0])
    expect(file.take()).toEqual(['read 0x20000+65536'])
    expect(state.refcounts.peek(5)).toBe(1)
  })

  it('is read with the refcount table where that is not in memory', async () => {
    const made = await fakeImage()
    await made.image.close()
    const { state } = await fakeImage({}, {}, { file: Object.assign(made.file, { readOnly: true }) })
    expect(state.refcounts.peek(3)).toBe(-1)
  })

  it('of a later block has its place there', async () => {
    const { state } = await fakeImage(small)
    await state.refcounts.update(64 * 3 + 5, 2, 1)
    expect(await counts(state, 64 * 3 + 4, 3)).toEqual([0, 1, 1])
    expect(await counts(state, 64 * 2 + 5, 1)).toEqual([0])
  })
})

describe('a damaged entry of the refcount table', () => {
  it('with an offset that no number holds is refused', async () => {
    const { state } = await damaged(0x0020_0000_0000_0000n)
    await expect(state.refcounts.get(0)).rejects.toMatchObject({
      code: 'EFBIG',
      message: 'refcount block 0 lies beyond the largest possible offset',
    })
  })

  it('that is not the place of a cluster marks the image as corrupt', async () => {
    for (const [value, shown] of [
      [0x20200n, '0x20200'],
      [0x20001n, '0x20001'],
      [0x1_0002_0008n, '0x100020008'],
    ] as const) {
      const { state } = await damaged(value)
      await expect(state.refcounts.get(0)).rejects.toMatchObject({
        code: 'EIO',
        message: `Refblock offset ${shown} unaligned (reftable index: 0)`,
      })
      expect(state.corruption.broken).toBe(true)
    }
  })

  it('that points far behind the end of the file marks the image as corrupt', async () => {
    const { state, file } = await damaged(0x1_0000_0000n)
    await expect(state.refcounts.get(0)).rejects.toThrow(
      'Refblock offset 0x100000000 far behind the end of the file (reftable index: 0)',
    )
    const end = Math.floor(file.size / cluster) + 1024
    for (const [last, fate] of [
      [end, 'EIO'],
      [end - 1, undefined],
    ] as const) {
      const { state } = await damaged(BigInt(last * cluster))
      const code = await state.refcounts.get(0).then(
        () => undefined,
        (error: BlockError) => error.code,
      )
      expect(code).toBe(fate)
    }
  })
})

describe('counts that change', () => {
  it('are those of a run, over the borders of blocks', async () => {
    const { state } = await fakeImage(small)
    await state.refcounts.update(120, 80, 2)
    expect(await counts(state, 119, 2)).toEqual([0, 2])
    expect(new Set(await counts(state, 120, 80))).toEqual(new Set([2]))
    await state.refcounts.update(121, 78, -1)
    expect(await counts(state, 119, 3)).toEqual([0, 2, 1])
    expect(await counts(state, 197, 3)).toEqual([1, 1, 2])
  })

  it('say which runs became free, and those alone', async () => {
    const { state } = await fakeImage(small)
    await state.refcounts.update(100, 10, 1)
    await state.refcounts.update(103, 1, 1)
    await state.refcounts.update(108, 1, 1)
    const freed: FileRange[] = []
    await state.refcounts.update(100, 10, -1, freed)
    expect(freed.map(({ offset, length }) => [offset / 512, length / 512])).toEqual([
      [100, 3],
      [104, 4],
      [109, 1],
    ])
    await state.refcounts.update(103, 1, -1)
    expect(await counts(state, 100, 10)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 0])
  })

  it('that became free are given out again', async () => {
    const { state } = await fakeImage(small)
    const first = await state.allocator.allocate(1)
    await state.allocator.allocate(1)
    await state.refcounts.update(first / 512, 1, -1)
    expect(state.allocator.tryAllocate(1)).toBe(first)
  })

  it('are all or none: below 0', async () => {
    const { state } = await fakeImage(small)
    await state.refcounts.update(120, 20, 1)
    await state.refcounts.update(135, 1, -1)
    await expect(state.refcounts.update(120, 20, -1)).rejects.toMatchObject({
      code: 'EINVAL',
      message: `the refcount of the cluster at 0x${(135 * 512).toString(16)} is zero and cannot be decreased`,
    })
    expect(await counts(state, 119, 21)).toEqual([0, ...new Array(15).fill(1), 0, 1, 1, 1, 1])
  })

  it('are all or none: where a block does not exist', async () => {
    const { state } = await fakeImage(small)
    const end = 64 * 20
    await state.refcounts.update(end - 64, 1, 1)
    await state.refcounts.update(end - 8, 8, 1)
    await expect(state.refcounts.update(end - 8, 20, -1)).rejects.toMatchObject({
      message: `the refcount of the cluster at 0x${(end * 512).toString(16)} is zero and cannot be decreased`,
    })
    expect(await counts(state, end - 8, 8)).toEqual(new Array(8).fill(1))
  })

  it('are all or none: above what an entry holds', async () => {
    for (const [refcountBits, most] of [
      [1, 1],
      [4, 15],
      [8, 255],
    ] as const) {
      const { state } = await fakeImage({ ...small, refcountBits })
      await state.refcounts.update(100, 4, 1)
      await state.refcounts.update(102, 1, most - 1)
      expect(await counts(state, 102, 1)).toEqual([most])
      await expect(state.refcounts.update(100, 4, 1)).rejects.toMatchObject({
        code: 'EINVAL',
        message: `the refcount of the cluster at ${most === 1 ? '0xc800' : '0xcc00'} would exceed ${most}`,
      })
      expect(await counts(state, 100, 4)).toEqual([1, 1, most, 1])
    }
  })

  it('wait for the events of the block', async () => {
    const { state, file } = await fakeImage()
    const gate = newGate()
    file.debugEvent = (event) => (event === 'refblock_load' ? gate.promise : undefined)
    const updated = state.refcounts.update(0, 1, 1)
    await turns()
    expect(file.take()).toEqual([])
    gate.open()
    await updated
    expect(await counts(state, 0, 1)).toEqual([2])
  })

  it('are written before more of them are in memory than the cache may hold', async () => {
    const { state, file } = await fakeImage(small, { refcountCacheSize: 2048 })
    for (let i = 0; i < 40; i++) await state.refcounts.update(i * 64, 1, 1)
    expect(state.store.blocks.bytes).toBeLessThanOrEqual(8 * 512)
    await state.store.writeRefcounts()
    file.log = []
    for (let i = 2; i < 40; i++) expect((await state.refcounts.get(i * 64)) > 0).toBe(true)
  })

  it('of clusters that a block has to be made for avoid these clusters', async () => {
    const { state } = await fakeImage(small)
    await state.refcounts.update(64 * 5, 128, 1)
    const blocks = [5, 6].map((index) => state.refcounts.blockOffset(index) / 512)
    for (const place of blocks) {
      expect(place).toBeGreaterThanOrEqual(64 * 7)
      expect(await counts(state, place, 1)).toEqual([1])
    }
    expect(new Set(await counts(state, 64 * 5, 128))).toEqual(new Set([1]))
  })
})

it('a wrong count is an error that says what to do', () => {
  const error = miscounted(0x50000)
  expect(error).toBeInstanceOf(BlockError)
  expect(error).toMatchObject({
    code: 'EIO',
    message: 'the refcount of the cluster at 0x50000 is wrong',
    hint: 'a check with repair mends that',
  })
})
