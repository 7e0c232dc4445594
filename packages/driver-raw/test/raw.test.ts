import { Graph } from '@diskgraph/core'
import { MemoryStorage, memory, memoryDriver } from '@diskgraph/driver-memory'
import { raw } from '@diskgraph/driver-raw'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

function setup(size: number) {
  const storage = new MemoryStorage(size)
  storage.write(
    0,
    Uint8Array.from({ length: size }, (_, i) => (i % 251) + 1),
  )
  const graph = new Graph({ drivers: [memoryDriver(new Map([['file', storage]])), raw] })
  const file = { driver: 'memory', name: 'file', discard: 'unmap' } as const
  return { storage, graph, file }
}

async function bytes(
  disk: { read(offset: number, buf: Uint8Array): Promise<unknown> },
  offset: number,
  length: number,
) {
  const buf = new Uint8Array(length).fill(0xee)
  await disk.read(offset, buf)
  return [...buf]
}

describe('raw', () => {
  it('does what the README shows', async () => {
    mustShowExample(import.meta.url)
    await using graph = new Graph({ drivers: [memory, raw] })
    const partition = await graph.add({
      driver: 'raw',
      offset: 1048576,
      size: 4194304,
      file: { driver: 'memory', size: 16777216 },
    })
    await partition.write(0, new Uint8Array(512))
  })

  it('rounds the size up to whole sectors and reads the missing tail as zeroes', async () => {
    const { graph, file } = setup(1000)
    await using disk = await graph.add({ driver: 'raw', file })
    expect(disk.size).toBe(1024)
    expect(await bytes(disk, 998, 4)).toEqual([(998 % 251) + 1, (999 % 251) + 1, 0, 0])
  })

  it('grows the file when the tail is written', async () => {
    const { graph, file, storage } = setup(1000)
    await using disk = await graph.add({ driver: 'raw', file })
    await disk.write(1000, new Uint8Array(24).fill(5))
    expect(storage.size).toBe(1024)
  })

  it('does not let an image grow past the end of a window: what stands behind it is not its own', async () => {
    const { graph, storage } = setup(2 * 2 ** 20)
    const file = { driver: 'raw', size: 2 ** 20, discard: 'unmap', file: { driver: 'memory', name: 'file' } }
    await using node = await graph.add({ driver: 'raw', file: file as never })
    const { edge } = node
    expect(edge.node.children.get('file')?.size).toBe(2 ** 20)
    const below = edge.node.children.get('file')
    await expect(below?.write(2 ** 20 - 512, new Uint8Array(1024), 0)).rejects.toMatchObject({ code: 'ENOSPC' })
    await expect(below?.writeZeroes(2 ** 20, 512, 0)).rejects.toMatchObject({ code: 'ENOSPC' })
    await expect(edge.node.children.get('file')?.node.image.discard?.(2 ** 20, 512)).rejects.toMatchObject({
      code: 'ENOSPC',
    })
    const tail = new Uint8Array(1024)
    storage.read(2 ** 20 - 512, tail)
    expect(tail.includes(0)).toBe(false)
  })

  it('shows a window of the file', async () => {
    const { graph, file } = setup(4096)
    await using disk = await graph.add({ driver: 'raw', file, offset: 512, size: 1024 })
    expect(disk.size).toBe(1024)
    expect(await bytes(disk, 0, 2)).toEqual([(512 % 251) + 1, (513 % 251) + 1])
    await expect(disk.write(1023, new Uint8Array(2))).rejects.toMatchObject({ code: 'EIO' })
  })

  it.each([
    [{ size: 500 }, 'Specified size is not multiple of 512'],
    [{ offset: 8192 }, 'Offset (8192) cannot be greater than size of the containing file (4096)'],
    [
      { offset: 512, size: 4096 },
      'The sum of offset (512) and size (4096) has to be smaller or equal to the  actual size of the containing file (4096)',
    ],
  ])('refuses %j in the words of QEMU', async (window, message) => {
    const { graph, file } = setup(4096)
    await expect(graph.add({ driver: 'raw', file, ...window })).rejects.toThrow(message)
  })

  it('cannot be resized when its size is fixed', async () => {
    const { graph, file } = setup(4096)
    await using disk = await graph.add({ driver: 'raw', file, size: 1024 })
    await expect(disk.truncate(2048)).rejects.toThrow('Cannot resize fixed-size raw disks')
  })

  it('resizes the file to the offset and the new size', async () => {
    const { graph, file, storage } = setup(4096)
    await using disk = await graph.add({ driver: 'raw', file, offset: 512 })
    await disk.truncate(8192)
    expect(storage.size).toBe(8704)
    expect(disk.size).toBe(8192)
  })

  it('tells holes of the file, with their place in it', async () => {
    const { graph, file, storage } = setup(65536)
    storage.zero(16384, 16384)
    await using disk = await graph.add({ driver: 'raw', file, offset: 8192 })
    const extents = []
    for await (const { offset, length, data, zero, hostOffset } of disk.extents()) {
      extents.push([offset, length, data, zero, hostOffset])
    }
    expect(extents).toEqual([
      [0, 8192, true, false, 8192],
      [8192, 16384, false, true, 16384],
      [24576, 32768, true, false, 32768],
    ])
  })

  it('moves its window on reopen', async () => {
    const { graph, file } = setup(4096)
    await using disk = await graph.add({ driver: 'raw', file })
    await graph.reopen(disk.nodeName, { offset: 1024, size: 512 })
    expect(disk.size).toBe(512)
    expect(await bytes(disk, 0, 1)).toEqual([(1024 % 251) + 1])
  })

  it('creates an image of whole sectors', async () => {
    const { graph, storage } = setup(0)
    await graph.create({ driver: 'raw', size: 1000, file: 'f' as never }).catch(() => undefined)
    await graph.create({ driver: 'raw', size: 1000, file: { driver: 'memory', name: 'new' } as never })
    await using disk = await graph.add({ driver: 'raw', file: { driver: 'memory', name: 'new' } })
    expect(disk.size).toBe(1024)
    expect(storage.size).toBe(0)
  })

  it('refuses to preallocate metadata, for it has none', async () => {
    const { graph } = setup(0)
    const file = { driver: 'memory', name: 'new' } as const
    await expect(graph.create({ driver: 'raw', size: 1, file, preallocation: 'metadata' })).rejects.toThrow(
      'Unsupported preallocation mode: metadata',
    )
  })

  it('is the last resort of probing', () => {
    expect(raw.probe?.(new Uint8Array(512), 'disk.qcow2')).toBe(1)
  })

  it('measures whole sectors', async () => {
    expect(await raw.measure?.({ options: {}, size: 1000 })).toEqual({ required: 1024, fullyAllocated: 1024 })
  })
})
