/** Finding and taking free clusters. */
import { BlockError } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { type FakeImage, fakeImage } from '../fake-file.ts'
import { counts, newGate, turns } from '../mapping.ts'

const small = { clusterSize: 512, refcountBits: 64, size: 1024 * 1024 }
const size = 512

/** Takes clusters as all that allocate do: in memory, or else with what has to be read or made. */
async function take({ state }: FakeImage, count: number): Promise<number> {
  let offset = state.allocator.tryAllocate(count)
  if (offset < 0) offset = await state.allocator.allocate(count)
  return offset / state.geometry.clusterSize
}

async function free({ state }: FakeImage, start: number, count: number): Promise<void> {
  await state.refcounts.update(start, count, -1)
}

/** A new image, the first cluster that it has free, and the first that the next block describes. */
async function fresh(
  options: Record<string, unknown> = {},
): Promise<{ image: FakeImage; first: number; next: number }> {
  const image = await fakeImage(small, options)
  const first = await take(image, 1)
  return { image, first, next: Math.ceil((first + 1) / 64) * 64 }
}

describe('one cluster', () => {
  it('is the first that is free, and is taken', async () => {
    const { image, first } = await fresh()
    expect(await take(image, 1)).toBe(first + 1)
    expect(await counts(image.state, first, 3)).toEqual([1, 1, 0])
    await free(image, first, 1)
    expect(await take(image, 1)).toBe(first)
    expect(await take(image, 1)).toBe(first + 2)
  })

  it('is behind a new block, which stands in the first cluster that it describes', async () => {
    const { image, first, next } = await fresh()
    for (let at = first + 1; at < next; at++) expect(await take(image, 1)).toBe(at)
    expect(image.state.allocator.tryAllocate(1)).toBe(-1)
    expect(await take(image, 1)).toBe(next + 1)
    const index = next / 64
    expect(image.state.refcounts.blockOffset(index)).toBe(next * size)
    expect(await counts(image.state, next, 3)).toEqual([1, 1, 0])
    expect(await take(image, 1)).toBe(next + 2)
  })

  it('is found below where runs are looked for', async () => {
    const { image, first } = await fresh()
    await take(image, 4)
    await free(image, first + 1, 2)
    expect(await take(image, 1)).toBe(first + 1)
    expect(await take(image, 1)).toBe(first + 2)
    expect(await take(image, 1)).toBe(first + 5)
  })
})

describe('a run of clusters', () => {
  it('is the first that is long enough', async () => {
    const { image, first } = await fresh()
    expect(await take(image, 3)).toBe(first + 1)
    expect(await take(image, 1)).toBe(first + 4)
    expect(await take(image, 2)).toBe(first + 5)
    await free(image, first + 1, 3)
    await free(image, first + 5, 2)
    expect(await take(image, 3)).toBe(first + 1)
    expect(await take(image, 3)).toBe(first + 5)
    expect(await counts(image.state, first, 9)).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 0])
  })

  it('passes over gaps that are too short, which single clusters fill', async () => {
    const { image, first } = await fresh()
    await take(image, 6)
    await free(image, first + 2, 1)
    await free(image, first + 4, 2)
    expect(await take(image, 3)).toBe(first + 7)
    expect(await take(image, 1)).toBe(first + 2)
    expect(await take(image, 2)).toBe(first + 10)
    expect(await take(image, 1)).toBe(first + 4)
  })

  it('goes over the border of two blocks that exist', async () => {
    const { image, first, next } = await fresh()
    await take(image, next + 10 - first)
    const block = image.state.refcounts.blockOffset(next / 64) / size
    await free(image, next - 3, 3)
    const from = block === next ? next + 1 : next
    await free(image, from, 4)
    expect(await take(image, block === next ? 4 : 7)).toBe(block === next ? from : next - 3)
  })

  it('that leads up to a missing block is not cut in two by it', async () => {
    const { image, first, next } = await fresh()
    const count = next + 4 - first
    const start = await take(image, count)
    const block = image.state.refcounts.blockOffset(next / 64) / size
    expect(block === first + 1 ? start : block).toBe(block === first + 1 ? first + 2 : next)
    expect(await counts(image.state, block, 1)).toEqual([1])
    expect(new Set(await counts(image.state, start, count))).toEqual(new Set([1]))
    expect(await counts(image.state, start + count, 1)).toEqual([0])
  })

  it('of several blocks is taken as a whole', async () => {
    const { image } = await fresh()
    const start = await take(image, 300)
    expect(new Set(await counts(image.state, start, 300))).toEqual(new Set([1]))
    expect(await counts(image.state, start + 300, 1)).toEqual([0])
    const again = await take(image, 300)
    expect(again).toBeGreaterThanOrEqual(start + 300)
  })
})

describe('clusters from a given one on', () => {
  it('are taken as far as they are free', async () => {
    const { image, first } = await fresh()
    await image.state.refcounts.update(first + 4, 1, 1)
    expect(await image.state.allocator.allocateAt(first + 1, 2)).toBe(2)
    expect(await image.state.allocator.allocateAt(first + 3, 3)).toBe(1)
    expect(await image.state.allocator.allocateAt(first + 4, 3)).toBe(0)
    expect(await counts(image.state, first, 7)).toEqual([1, 1, 1, 1, 1, 0, 0])
  })

  it('are not where the block for them has to stand', async () => {
    const { image, next } = await fresh()
    expect(await image.state.allocator.allocateAt(next, 1)).toBe(0)
    expect(image.state.refcounts.blockOffset(next / 64)).toBe(next * size)
    expect(await image.state.allocator.allocateAt(next + 1, 1)).toBe(1)
  })
})

describe('space for compressed data', () => {
  it('goes on in the cluster of the last one, whose count goes up', async () => {
    const { image, first } = await fresh()
    const { allocator } = image.state
    const start = (first + 1) * size
    expect(await allocator.allocateBytes(100)).toBe(start)
    expect(await allocator.allocateBytes(100)).toBe(start + 100)
    expect(await counts(image.state, first + 1, 2)).toEqual([2, 0])
    expect(await allocator.allocateBytes(312)).toBe(start + 200)
    expect(await counts(image.state, first + 1, 2)).toEqual([3, 0])
    expect(await allocator.allocateBytes(100)).toBe(start + 512)
    expect(await counts(image.state, first + 1, 2)).toEqual([3, 1])
  })

  it('runs on into the next clusters where these are free', async () => {
    const { image, first } = await fresh()
    const { allocator } = image.state
    const start = (first + 1) * size
    await allocator.allocateBytes(400)
    expect(await allocator.allocateBytes(700)).toBe(start + 400)
    expect(await counts(image.state, first + 1, 4)).toEqual([2, 1, 1, 0])
    expect(await allocator.allocateBytes(10)).toBe(start + 1100)
    expect(await counts(image.state, first + 1, 4)).toEqual([2, 1, 2, 0])
  })

  it('begins anew where the next clusters are taken, and takes nothing from there', async () => {
    const { image, first } = await fresh()
    const { allocator, refcounts } = image.state
    await allocator.allocateBytes(400)
    await refcounts.update(first + 3, 1, 1)
    expect(await allocator.allocateBytes(1000)).toBe((first + 4) * size)
    expect(await counts(image.state, first + 1, 6)).toEqual([1, 0, 1, 1, 1, 0])
    expect(await allocator.allocateBytes(20)).toBe((first + 4) * size + 1000)
  })

  it('begins anew where the cluster cannot count more', async () => {
    const image = await fakeImage({ ...small, refcountBits: 1 })
    const first = await take(image, 1)
    expect(await image.state.allocator.allocateBytes(100)).toBe((first + 1) * size)
    expect(await image.state.allocator.allocateBytes(100)).toBe((first + 2) * size)
  })

  it('does not go on in a cluster that was freed, or is about to be', async () => {
    const { image, first } = await fresh()
    const { allocator } = image.state
    await allocator.allocateBytes(100)
    await free(image, first + 1, 1)
    expect(await allocator.allocateBytes(100)).toBe((first + 1) * size)
    for (const [start, count, offset] of [
      [first + 2, 5, (first + 1) * size + 100],
      [0, first + 1, (first + 1) * size + 200],
      [first + 1, 1, (first + 2) * size],
      [0, 1, (first + 2) * size + 100],
      [first, 3, (first + 3) * size],
    ] as const) {
      allocator.leaveTail(start, count)
      expect(await allocator.allocateBytes(100)).toBe(offset)
    }
    allocator.reset()
    expect(await allocator.allocateBytes(100)).toBe((first + 4) * size)
  })

  it('is not given out twice while clusters for it are looked for', async () => {
    const { image, first } = await fresh()
    const { allocator } = image.state
    const gate = newGate()
    image.file.debugEvent = (event) => (event === 'cluster_alloc_bytes' ? gate.promise : undefined)
    const waiting = allocator.allocateBytes(100)
    await turns()
    expect(await counts(image.state, first + 1, 1)).toEqual([0])
    gate.open()
    expect(await waiting).toBe((first + 1) * size)
  })
})

describe('a new refcount block', () => {
  it('is not entered into the table, and its cluster is free, when it cannot be written', async () => {
    const { image, first, next } = await fresh()
    const { state, file } = image
    for (let at = first + 1; at < next; at++) await take(image, 1)
    file.before = (call) => (call.startsWith('write') ? Promise.reject(new BlockError('ENOSPC', 'full')) : undefined)
    await expect(state.allocator.allocate(1)).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(state.refcounts.blockOffset(next / 64)).toBe(0)
    file.before = () => undefined
    expect(await take(image, 1)).toBe(next + 1)
  })

  it('before the clusters that it describes gives its cluster back when it cannot be written', async () => {
    const { image, first, next } = await fresh()
    const { state, file } = image
    file.before = (call) => (call.startsWith('write') ? Promise.reject(new BlockError('ENOSPC', 'full')) : undefined)
    await expect(state.allocator.allocate(next - first + 2)).rejects.toMatchObject({ code: 'ENOSPC' })
    file.before = () => undefined
    expect(await counts(state, first + 1, 2)).toEqual([0, 0])
    expect(await take(image, 1)).toBe(first + 1)
  })

  it('is refused where metadata stands', async () => {
    const { image, first, next } = await fresh()
    const { state } = image
    for (let at = first + 1; at < next; at++) await take(image, 1)
    state.overlap.snapshotTable = { offset: next * size, length: 1 }
    await expect(state.allocator.allocate(1)).rejects.toThrow('overlaps with snapshot table')
  })

  it('waits for its events', async () => {
    for (const held of ['cluster_alloc', 'refblock_alloc', 'refblock_load', 'refblock_alloc.write']) {
      const { image, first, next } = await fresh()
      for (let at = first + 1; at < next; at++) await take(image, 1)
      const gate = newGate()
      let raised = 0
      image.file.debugEvent = (event) => (event === held && raised++ === 0 ? gate.promise : undefined)
      image.file.log = []
      const taken = take(image, 1)
      await turns()
      expect(image.file.take(), held).toEqual([])
      gate.open()
      expect(await taken, held).toBe(next + 1)
    }
  })

  it('makes the table grow when it has no entry for it', async () => {
    const { image } = await fresh()
    const { state } = image
    const { tableEntries } = state.refcounts
    const start = await take(image, tableEntries * 64)
    expect(state.refcounts.tableEntries).toBeGreaterThan(tableEntries)
    expect(await counts(state, start + tableEntries * 64 - 1, 2)).toEqual([1, 0])
    await image.image.close()
    const again = await fakeImage({}, {}, { file: image.file })
    expect(await counts(again.state, start + tableEntries * 64 - 1, 2)).toEqual([1, 0])
  })
})

describe('the allocator', () => {
  it('raises each event once for an allocation, whether or not it can be made at once', async () => {
    const { image, first, next } = await fresh()
    const { file } = image
    file.log = []
    await take(image, 1)
    expect(file.take('events')).toEqual(['(cluster_alloc)', '(refblock_alloc)', '(refblock_load)'])
    for (let at = first + 2; at < next; at++) await take(image, 1)
    file.log = []
    await take(image, 1)
    expect(file.take('events').filter((event) => event === '(cluster_alloc)')).toHaveLength(1)
  })

  it('writes counts before more blocks are dirty than the cache may hold', async () => {
    const { image } = await fresh({ refcountCacheSize: 2048 })
    for (let i = 0; i < 30; i++) await take(image, 50)
    expect(image.state.store.blocks.bytes).toBeLessThanOrEqual(8 * size)
  })

  it('marks an image whose header is free as corrupt, whatever is checked', async () => {
    for (const [overlapCheck, words] of [
      ['none', 'Preventing invalid allocation of clusters at offset 0'],
      ['cached', 'overlaps with qcow2_header'],
    ]) {
      const made = await fakeImage(small)
      await made.image.close()
      const image = await fakeImage({}, { overlapCheck }, { file: made.file })
      await image.state.refcounts.update(0, 1, -1)
      await expect(image.state.allocator.allocate(1)).rejects.toThrow(words)
      expect(image.state.corruption.broken).toBe(true)
    }
  })

  it('puts the header in order before it takes clusters, when a change of it has failed', async () => {
    const { image } = await fresh()
    const { state, file } = image
    file.before = (call) => (call === 'flush' ? Promise.reject(new BlockError('EIO', 'broken')) : undefined)
    await expect(state.header.setSize(512)).rejects.toThrow('broken')
    await expect(take(image, 1)).rejects.toThrow('broken')
    file.before = () => undefined
    file.log = []
    await take(image, 1)
    expect(file.take()[0]).toMatch(/^write 0x0\+/)
    expect(state.header.unsure).toBe(false)
  })

  it('raises its events also where nobody has tried before', async () => {
    const { image } = await fresh()
    image.file.log = []
    await image.state.allocator.allocate(1)
    await image.state.allocator.allocate(1)
    const once = ['(cluster_alloc)', '(refblock_alloc)', '(refblock_load)']
    expect(image.file.take('events')).toEqual([...once, ...once])
  })

  it('gives up in memory where an event is held, the header is unsure, or too much is dirty', async () => {
    const { image, first } = await fresh()
    const { state, file } = image
    state.header.unsure = true
    expect(state.allocator.tryAllocate(1)).toBe(-1)
    state.header.unsure = false
    file.debugEvent = () => turns(1)
    expect(state.allocator.tryAllocate(1)).toBe(-1)
    file.debugEvent = () => undefined
    state.store.blocks.capacity = 1
    expect(state.store.blocks.crowded).toBe(true)
    expect(state.allocator.tryAllocate(1)).toBe(-1)
    file.log = []
    expect(await state.allocator.allocate(1)).toBe((first + 1) * size)
    expect(file.take().filter((call) => call.startsWith('write'))).toHaveLength(1)
  })

  it('forgets tables that stood in clusters which became free', async () => {
    const { image } = await fresh()
    const { state } = image
    const start = await take(image, 4)
    for (let i = 0; i < 4; i++) {
      state.store.l2.adopt((start + i) * size, new Uint8Array(size))
      state.store.blocks.adopt((start + i) * size, new Uint8Array(size))
    }
    await free(image, start + 1, 2)
    const known = (cache: typeof state.store.l2) =>
      [0, 1, 2, 3].map((i) => cache.peek((start + i) * size) !== undefined)
    expect(known(state.store.l2)).toEqual([true, false, false, true])
    expect(known(state.store.blocks)).toEqual([true, false, false, true])
  })

  it('that made a block far away goes on where it was', async () => {
    const { image, first } = await fresh()
    await take(image, 2)
    await image.state.refcounts.update(64 * 9, 3, 1)
    expect(await take(image, 1)).toBe(first + 3)
    expect(await take(image, 2)).toBe(first + 4)
  })

  it('does not make a block far away where metadata stands', async () => {
    const { image } = await fresh()
    const { state } = image
    state.overlap.snapshotTable = { offset: 0, length: 2 ** 30 }
    await expect(state.refcounts.update(64 * 9, 3, 1)).rejects.toThrow('overlaps with snapshot table')
    expect(state.refcounts.blockOffset(9)).toBe(0)
  })
})
