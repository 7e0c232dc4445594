import { BlockError } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { fakeImage } from '../fake-file.ts'

const cluster = 65536
const data = (length: number, value = 1) => new Uint8Array(length).fill(value)

describe('the order of writes', () => {
  it('is an empty L2 table for its storage, data, refcounts, L2 table, L1 table, with a flush between each of the last', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    expect(file.take()).toEqual(['read 0x20000+65536', 'write 0x40000+65536', 'write 0x50000+65536'])
    await image.flush()
    expect(file.take()).toEqual(['write 0x20000+65536', 'flush', 'write 0x40000+65536', 'flush', 'write 0x30000+8'])
  })

  it('is one data write and no metadata for a write in place', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    await image.flush()
    file.take()
    await image.write(100, data(1000), 0)
    await image.flush()
    expect(file.take()).toEqual(['write 0x50064+1000'])
  })

  it('writes a run of new clusters at once, and its metadata once', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(32 * cluster), 0)
    await image.write(32 * cluster, data(32 * cluster), 0)
    expect(file.take().filter((call) => call.startsWith('write'))).toEqual([
      'write 0x40000+65536',
      `write 0x50000+${32 * cluster}`,
      `write 0x250000+${32 * cluster}`,
    ])
    await image.flush()
    expect(file.take().filter((call) => call.startsWith('write'))).toHaveLength(3)
  })

  it('puts the edges of a small write into the same request', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    await image.discard(0, cluster)
    await image.flush()
    file.take()
    await image.write(1000, data(10, 7), 0)
    expect(file.take()).toEqual(['write 0x50000+65536'])
  })

  it('does not write zero edges behind the end of the file', async () => {
    const { image, file } = await fakeImage()
    await image.write(1000, data(10, 7), 0)
    expect(file.take()).toEqual(['read 0x20000+65536', 'write 0x40000+65536', 'write 0x503e8+10'])
  })

  it('lowers refcounts only when the mapping without the cluster is safe', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    await image.flush()
    file.take()
    await image.discard(0, cluster)
    expect(file.take()).toEqual([])
    await image.flush()
    expect(file.take()).toEqual(['write 0x40000+65536', 'flush', 'discard 0x50000+65536', 'write 0x20000+65536'])
  })

  it('does not use a freed cluster before that', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    await image.flush()
    await image.discard(0, cluster)
    file.take()
    await image.write(cluster, data(cluster), 0)
    expect(file.take()).toEqual(['write 0x60000+65536'])
    await image.flush()
    file.take()
    await image.write(2 * cluster, data(cluster), 0)
    expect(file.take()).toEqual(['write 0x50000+65536'])
  })

  it('does not use a freed cluster while a request for it is on its way', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    await image.flush()
    let release = () => {}
    file.before = (call) =>
      call.startsWith('write 0x50000') ? new Promise<void>((resolve) => (release = resolve)) : undefined
    const late = image.write(0, data(512, 9), 0)
    file.before = () => undefined
    await image.discard(0, cluster)
    await image.flush()
    file.take()
    await image.write(cluster, data(cluster, 3), 0)
    expect(file.take()).toEqual(['write 0x60000+65536'])
    release()
    await late
    await image.flush()
    await image.write(2 * cluster, data(cluster, 4), 0)
    expect(file.take().at(-1)).toBe('write 0x50000+65536')
  })

  it('with lazy refcounts sets the dirty bit safely before the first mapping, and clears it last', async () => {
    const { image, file } = await fakeImage({ lazyRefcounts: true })
    await image.write(0, data(cluster), 0)
    expect(file.take()).toEqual([
      'read 0x20000+65536',
      'write 0x40000+65536',
      'write 0x50000+65536',
      'write 0x48+8',
      'flush',
    ])
    await image.flush()
    expect(file.take()).toEqual(['flush', 'write 0x40000+65536', 'flush', 'write 0x30000+8'])
    await image.close()
    expect(file.take()).toEqual(['write 0x20000+65536', 'flush', 'write 0x48+8', 'flush'])
  })

  it('fails a write whose dirty bit cannot be set, and leaves the disk as it was', async () => {
    const { image, file, state } = await fakeImage({ lazyRefcounts: true })
    file.before = (call) =>
      call.startsWith('write 0x48') ? Promise.reject(new BlockError('EIO', 'broken')) : undefined
    await expect(image.write(0, data(cluster), 0)).rejects.toMatchObject({ code: 'EIO' })
    file.before = () => undefined
    expect(await image.blockStatus(0, cluster)).toMatchObject({ allocated: false })
    await image.write(0, data(cluster), 0)
    expect(state.header.dirty).toBe(true)
    await image.close()
    expect(state.header.dirty).toBe(false)
  })

  it('gives clusters back when their data cannot be written', async () => {
    const { image, file, state } = await fakeImage()
    file.before = (call) =>
      call.startsWith('write 0x50000') ? Promise.reject(new BlockError('ENOSPC', 'full')) : undefined
    await expect(image.write(0, data(cluster), 0)).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(await state.refcounts.get(5)).toBe(0)
    file.before = () => undefined
    await image.write(0, data(cluster), 0)
    expect(await state.refcounts.get(5)).toBe(1)
  })

  it('keeps a metadata write that failed for the next flush', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    file.before = (call) => (call === 'write 0x40000+65536' ? Promise.reject(new BlockError('EIO', 'x')) : undefined)
    await expect(image.flush()).rejects.toMatchObject({ code: 'EIO' })
    file.before = () => undefined
    file.take()
    await image.flush()
    expect(file.take()).toEqual(['write 0x40000+65536', 'flush', 'write 0x30000+8'])
  })

  it('raises the events of blkdebug', async () => {
    const { image, file } = await fakeImage()
    await image.write(0, data(cluster), 0)
    expect(file.take('events')).toEqual([
      '(cluster_alloc)',
      '(refblock_alloc)',
      '(refblock_load)',
      '(l2_alloc.write)',
      '(cluster_alloc)',
      '(refblock_alloc)',
      '(refblock_load)',
      '(write_aio)',
    ])
    await image.flush()
    expect(file.take('events')).toEqual(['(refblock_update_part)', '(l2_update)', '(l1_update)'])
    await image.read(0, data(512), 0)
    expect(file.take('events')).toEqual(['(read_aio)'])
    await image.write(cluster, data(1024), 0)
    expect(file.take('events')).toEqual([
      '(cluster_alloc)',
      '(refblock_alloc)',
      '(refblock_load)',
      '(cluster_alloc_space)',
      '(write_aio)',
    ])
  })
})
