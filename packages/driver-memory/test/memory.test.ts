import { Flag, Graph, Permission } from '@diskgraph/core'
import { MemoryStorage, memory, memoryDriver } from '@diskgraph/driver-memory'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const graphOf = (storages?: Map<string, MemoryStorage>) => new Graph({ drivers: [memoryDriver(storages)] })

describe('memory', () => {
  it('does what the README shows', async () => {
    mustShowExample(import.meta.url)
    await using graph = new Graph({ drivers: [memory] })
    const disk = await graph.add({ driver: 'memory', name: 'scratch', size: 2 ** 30 })
    await disk.write(4096, new TextEncoder().encode('hello'))
  })

  it('shows the same bytes to every node that names the same storage', async () => {
    await using graph = graphOf()
    const first = await graph.add({ driver: 'memory', name: 'a', size: 8192 })
    await first.write(100, new Uint8Array([1, 2, 3]))
    const second = await graph.add({ driver: 'memory', name: 'a' })
    const buf = new Uint8Array(5)
    await second.read(99, buf)
    expect([...buf]).toEqual([0, 1, 2, 3, 0])
  })

  it('is made read-only and writable again while it is open', async () => {
    await using graph = graphOf()
    const disk = await graph.add({ driver: 'memory', size: 8192 }, { permissions: Permission.ConsistentRead })
    await graph.reopen(disk.node, { readOnly: true })
    await expect(graph.attach(disk.node, { permissions: Permission.Write })).rejects.toMatchObject({ code: 'EPERM' })
    await graph.reopen(disk.node, { readOnly: false })
    const writer = await graph.attach(disk.node)
    await writer.write(0, new Uint8Array([7]))
    await expect(graph.reopen(disk.node, { size: 1 })).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('keeps a named storage when its node is closed', async () => {
    const storages = new Map([['disk', new MemoryStorage(4096)]])
    await using graph = graphOf(storages)
    const disk = await graph.add({ driver: 'memory', name: 'disk' })
    await disk.write(0, new Uint8Array([7]))
    await disk.close()
    const buf = new Uint8Array(1)
    storages.get('disk')?.read(0, buf)
    expect(buf[0]).toBe(7)
  })

  it('gives nodes without a name a storage each', async () => {
    await using graph = graphOf()
    const a = await graph.add({ driver: 'memory', size: 512 })
    const b = await graph.add({ driver: 'memory', size: 512 })
    await a.write(0, new Uint8Array([9]))
    const buf = new Uint8Array(1)
    await b.read(0, buf)
    expect(buf[0]).toBe(0)
  })

  it('refuses a name that no storage has', async () => {
    await using graph = graphOf()
    await expect(graph.add({ driver: 'memory', name: 'none' })).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('creates a storage that open finds, and removes it', async () => {
    const storages = new Map<string, MemoryStorage>()
    await using graph = graphOf(storages)
    await graph.create({ driver: 'memory', name: 'new', size: 1000 })
    const disk = await graph
      .open('memory:new', { format: 'memory' })
      .catch(() => graph.add({ driver: 'memory', name: 'new' }))
    expect(disk.size).toBe(1000)
    expect(storages.size).toBe(1)
  })

  it('tells stored pages from holes', async () => {
    await using graph = graphOf()
    const disk = await graph.add({ driver: 'memory', size: 2 ** 40 })
    await disk.write(8192, new Uint8Array(100).fill(1))
    const extents = []
    for await (const { offset, length, data, zero } of disk.extents()) extents.push({ offset, length, data, zero })
    expect(extents).toEqual([
      { offset: 0, length: 8192, data: false, zero: true },
      { offset: 8192, length: 4096, data: true, zero: false },
      { offset: 12288, length: 2 ** 40 - 12288, data: false, zero: true },
    ])
  })

  it('gives zeroed pages back', async () => {
    const storage = new MemoryStorage(65536)
    storage.write(0, new Uint8Array(65536).fill(1))
    storage.zero(100, 20000)
    expect(storage.allocatedSize).toBe(65536 - 3 * 4096)
    const buf = new Uint8Array(102)
    storage.read(0, buf)
    expect(buf.indexOf(0)).toBe(100)
  })

  it('loses what truncate cuts off', async () => {
    const storage = new MemoryStorage()
    storage.write(0, new Uint8Array(10_000_000).fill(1))
    storage.truncate(5000)
    storage.truncate(20_000_000)
    const buf = new Uint8Array(10_000_000)
    storage.read(5000, buf)
    expect(buf.every((byte) => byte === 0)).toBe(true)
    expect(storage.allocatedSize).toBe(8192)
  })

  it('answers writes of zeroes without writing them', async () => {
    await using graph = new Graph({ drivers: [memory] })
    const disk = await graph.add({ driver: 'memory', size: 2 ** 50, discard: 'unmap' })
    await disk.writeZeroes(0, 2 ** 50, Flag.MayUnmap | Flag.NoFallback)
    expect((await disk.info()).allocatedSize).toBe(0)
  })
})
