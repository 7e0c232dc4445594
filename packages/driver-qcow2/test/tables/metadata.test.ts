/** The order in which metadata reaches the file, and what is flushed in between. */
import { BlockError } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { RootTable } from '../../src/tables/root-table.ts'
import { FakeFile, fakeImage } from '../fake-file.ts'
import { content, filled, newGate, turns } from '../mapping.ts'

const cluster = 65536
const span = (cluster / 8) * cluster

/** An image with one cluster written and flushed, and an empty log. */
async function settled(options: Record<string, unknown> = {}): ReturnType<typeof fakeImage> {
  const made = await fakeImage(options)
  await made.image.write(0, filled(cluster), 0)
  await made.image.flush()
  made.file.log = []
  return made
}

describe('the refcount table', () => {
  it('is read once, however many ask for it', async () => {
    const made = await settled()
    await made.image.close()
    const file = Object.assign(made.file, { readOnly: true })
    const { state } = await fakeImage({}, {}, { file })
    expect(state.store.refcountsReady).toBe(false)
    await Promise.all([state.store.loadRefcountTable(), state.store.loadRefcountTable()])
    await state.store.loadRefcountTable()
    expect(file.log).toEqual(['(reftable_load)', 'read 0x10000+65536'])
    expect(state.store.refcountsReady).toBe(true)
    expect(state.store.refcountTable.entries).toBe(8192)
  })

  it('that cannot be read says so, and is read when asked for again', async () => {
    const made = await settled()
    await made.image.close()
    const file = Object.assign(made.file, { readOnly: true })
    const { state } = await fakeImage({}, {}, { file })
    file.before = () => Promise.reject(new BlockError('EACCES', 'no'))
    await expect(state.store.loadRefcountTable()).rejects.toMatchObject({
      code: 'EACCES',
      message: 'Could not read qcow2 refcount table',
    })
    file.before = () => undefined
    await state.store.loadRefcountTable()
    expect(state.store.refcountsReady).toBe(true)
  })

  it('waits for its event', async () => {
    const made = await settled()
    await made.image.close()
    const file = Object.assign(made.file, { readOnly: true })
    const { state } = await fakeImage({}, {}, { file })
    const gate = newGate()
    file.debugEvent = () => gate.promise
    const loaded = state.store.loadRefcountTable()
    await turns()
    expect(file.take()).toEqual([])
    gate.open()
    await loaded
  })
})

describe('what is written', () => {
  it('is nothing when nothing has changed', async () => {
    const { file, state } = await settled()
    expect([state.store.mappingDirty, state.store.refcountsDirty]).toEqual([false, false])
    await state.store.writeMapping()
    await state.store.writeRefcounts()
    await state.store.writeBlocks()
    expect(file.take()).toEqual([])
  })

  it('is dirty until then: counts, slices, and the L1 table', async () => {
    const { image, state } = await settled({ size: 4 * span })
    const { store } = state
    await image.write(span, filled(cluster), 0)
    expect([store.mappingDirty, store.refcountsDirty, store.l1.dirty, store.l2.dirty]).toEqual([true, true, true, true])
    await store.writeRefcounts()
    expect([store.mappingDirty, store.refcountsDirty]).toEqual([true, false])
    await store.l2.writeDirty()
    expect(store.mappingDirty).toBe(true)
    await store.writeMapping()
    expect([store.mappingDirty, store.refcountsDirty]).toEqual([false, false])
  })

  it('to L2 slices follows a flush when data or counts were written, and none else', async () => {
    const { image, file, state } = await settled()
    await image.write(cluster, filled(cluster), 0)
    file.log = []
    await state.store.writeMapping()
    expect(file.take()).toEqual(['write 0x20000+65536', 'flush', 'write 0x40000+65536'])
    await image.writeZeroes(0, cluster, 0)
    await state.store.writeMapping()
    expect(file.take()).toEqual(['flush', 'write 0x40000+65536'].slice(1))
    state.store.noteData()
    await image.discard(0, cluster)
    await state.store.writeMapping()
    expect(file.take()).toEqual(['flush', 'write 0x40000+65536'])
  })

  it('to the L1 table follows a flush of a new L2 table', async () => {
    const { file, state } = await settled({ size: 4 * span })
    await state.store.writeNewTable(9 * cluster, new Uint8Array(cluster))
    state.store.setL1Entry(1, 9 * cluster, 0x80000000)
    file.log = []
    await state.store.writeMapping()
    expect(file.take()).toEqual(['flush', 'write 0x30000+32'])
    state.store.setL1Entry(1, 0, 0)
    await state.store.writeMapping()
    expect(file.take()).toEqual(['write 0x30000+32'])
    state.store.noteData()
    state.store.setL1Entry(1, 9 * cluster, 0x80000000)
    await state.store.writeMapping()
    expect(file.take()).toEqual(['flush', 'write 0x30000+32'])
  })

  it('to the refcount table follows a flush of the new block', async () => {
    const { file, state } = await settled()
    await state.store.writeNewBlock(9 * cluster, new Uint8Array(cluster))
    expect(file.take()).toEqual(['write 0x90000+65536'])
    state.store.setRefcountTableEntry(1, 9 * cluster)
    await state.store.writeRefcounts()
    expect(file.take()).toEqual(['flush', 'write 0x10000+512'])
    state.store.setRefcountTableEntry(1, 0)
    await state.store.writeRefcounts()
    expect(file.take()).toEqual(['write 0x10000+512'])
    state.store.setRefcountTableEntry(1, 9 * cluster)
    await state.refcounts.update(5, 1, 1)
    await state.store.writeRefcounts()
    expect(file.take()).toEqual(['write 0x20000+65536', 'flush', 'write 0x10000+512'])
  })

  it('to the refcount table is flushed before an L2 slice relies on it', async () => {
    const { image, file, state } = await settled()
    state.store.setRefcountTableEntry(1, 9 * cluster)
    await image.writeZeroes(0, cluster, 0)
    await state.store.writeMapping()
    expect(file.take()).toEqual(['write 0x10000+512', 'flush', 'write 0x40000+65536'])
  })

  it('leaves counts alone while they are lazy', async () => {
    const { image, file, state } = await settled({ lazyRefcounts: true })
    expect(state.store.lazy).toBe(true)
    await image.write(cluster, filled(cluster), 0)
    file.log = []
    await state.store.writeMapping()
    expect(file.take()).toEqual(['flush', 'write 0x40000+65536'])
    expect(state.store.refcountsDirty).toBe(true)
  })

  it('follows the header, when a change of that has failed', async () => {
    for (const part of ['writeMapping', 'writeRefcounts'] as const) {
      const { image, file, state } = await settled()
      await image.write(cluster, filled(cluster), 0)
      file.before = (call) => (call === 'flush' ? Promise.reject(new BlockError('EIO', 'broken')) : undefined)
      await expect(state.header.setSize(512)).rejects.toThrow('broken')
      file.before = () => undefined
      file.log = []
      await state.store[part]()
      expect(file.take()[0]).toMatch(/^write 0x0\+/)
      expect(state.header.unsure).toBe(false)
    }
  })

  it('is refused where other metadata stands, and is kept', async () => {
    const { image, file, state } = await settled({ size: 4 * span })
    await image.write(span, filled(cluster), 0)
    file.log = []
    state.overlap.snapshotTable = { offset: 3 * cluster, length: 8 }
    await expect(state.store.writeMapping()).rejects.toThrow('overlaps with snapshot table')
    expect(state.store.l1.dirty).toBe(true)
    expect(file.take().filter((call) => call.startsWith('write 0x3'))).toEqual([])
    const other = await settled()
    other.state.store.setRefcountTableEntry(1, 9 * cluster)
    other.state.overlap.snapshotTable = { offset: cluster, length: 8 }
    await expect(other.state.store.writeRefcounts()).rejects.toThrow('overlaps with snapshot table')
    expect(other.file.take().filter((call) => call.startsWith('write 0x1'))).toEqual([])
  })
})

describe('new tables', () => {
  it('are in memory as they were written, and may be changed', async () => {
    const { state, file } = await settled()
    const data = filled(cluster, 7)
    await state.store.writeNewTable(9 * cluster, data)
    const { sliceSize } = state.store.l2
    for (let at = 0; at < cluster; at += sliceSize) {
      expect(state.store.l2.peekWritable(9 * cluster + at)!.data).toEqual(filled(sliceSize, 7))
    }
    await state.store.writeNewBlock(10 * cluster, data)
    expect(state.store.blocks.peekWritable(10 * cluster)!.data).toEqual(data)
    expect(file.take()).toEqual(['write 0x90000+65536', 'write 0xa0000+65536'])
  })

  it('that cannot be written are not in memory', async () => {
    const { state, file } = await settled()
    file.before = () => Promise.reject(new BlockError('ENOSPC', 'full'))
    await expect(state.store.writeNewTable(9 * cluster, filled(cluster))).rejects.toThrow('full')
    await expect(state.store.writeNewBlock(9 * cluster, filled(cluster))).rejects.toThrow('full')
    expect(state.store.l2.peek(9 * cluster)).toBeUndefined()
    expect(state.store.blocks.peek(9 * cluster)).toBeUndefined()
  })

  it('are guarded from the moment that an entry points to them, and no longer than that', async () => {
    const { state } = await settled({ size: 4 * span })
    const hit = async (index: number): Promise<string> => {
      const refusal = state.overlap.check(0, index * cluster, 1)
      const text = await refusal?.catch((error: Error) => error.message)
      state.corruption.broken = false
      return /overlaps with (.*)\)/.exec(text ?? '')?.[1] ?? 'free'
    }
    expect([await hit(4), await hit(2), await hit(9)]).toEqual(['active L2 table', 'refcount block', 'free'])
    state.store.setL1Entry(1, 9 * cluster, 0)
    state.store.setRefcountTableEntry(1, 10 * cluster)
    expect([await hit(9), await hit(10)]).toEqual(['active L2 table', 'refcount block'])
    state.store.setL1Entry(1, 0, 0)
    state.store.setRefcountTableEntry(1, 0)
    expect([await hit(9), await hit(10)]).toEqual(['free', 'free'])
    state.store.replaceL1(new RootTable(11 * cluster, new Uint8Array(32)))
    expect([await hit(4), await hit(3), await hit(11)]).toEqual(['free', 'free', 'active L1 table'])
    state.store.replaceRefcountTable(new RootTable(12 * cluster, new Uint8Array(cluster)))
    expect([await hit(2), await hit(1), await hit(12)]).toEqual(['free', 'free', 'refcount table'])
  })

  it('get storage for their entry before it is set', async () => {
    const { image, state, file } = await settled({ size: 4 * span })
    file.blockStatus = async (_, length) => ({ length, data: false, zero: true, allocated: true })
    await state.store.allocateRefcountTableEntry(64)
    expect(file.take()).toEqual(['write 0x10200+512'])
    await state.store.allocateL1Entry(0)
    expect(file.take()).toEqual([])
    state.store.setL1Entry(0, 0, 0)
    await state.store.allocateL1Entry(0)
    expect(file.take()).toEqual(['write 0x30000+32'])
    state.overlap.snapshotTable = { offset: 3 * cluster, length: 8 }
    await expect(state.store.allocateL1Entry(1)).rejects.toThrow('overlaps with snapshot table')
    state.overlap.snapshotTable = { offset: cluster, length: cluster }
    await expect(state.store.allocateRefcountTableEntry(128)).rejects.toMatchObject({ code: 'EIO' })
    expect(image.size).toBe(4 * span)
  })
})

it('metadata is complete on disk after a close', async () => {
  const { image, file } = await settled({ size: 4 * span, clusterSize: 65536 })
  for (let i = 0; i < 4; i++) await image.write(i * span + cluster, filled(512, i + 1), 0)
  await image.close()
  const copy = new FakeFile()
  copy.bytes = file.bytes
  const again = await fakeImage({}, {}, { file: copy })
  for (let i = 0; i < 4; i++) expect(await content(again.image, i * span + cluster, 512)).toBe(`${i + 1} x 512`)
})
