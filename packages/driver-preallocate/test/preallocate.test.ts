import { stat } from 'node:fs/promises'
import { Graph, Permission } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { preallocate } from '@diskgraph/driver-preallocate'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { Faults, peer, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const mebi = 2 ** 20

async function onStorage(faults = new Faults()) {
  const storage = new MemoryStorage(0)
  const graph = new Graph({ drivers: [preallocate, memoryDriver(new Map([['file', storage]])), faults.driver] })
  const below = { driver: faults.driver.name, file: { driver: 'memory', name: 'file' } }
  const node = await graph.addNode({
    driver: 'preallocate',
    nodeName: 'p',
    preallocSize: 1000,
    preallocAlign: 512,
    file: below,
  })
  const disk = await graph.attach(node)
  return { graph, disk, storage, faults }
}

describe('preallocate', () => {
  it('makes the file longer than what is written, once for many writes, and cuts it at the end', async () => {
    const { graph, disk, storage, faults } = await onStorage()
    faults.arm({ nth: 1000, code: 'EIO', kinds: ['truncate'] })
    await disk.truncate(10)
    await disk.node.write(10, new Uint8Array(90).fill(1), 0)
    expect([disk.size, storage.size]).toEqual([100, 1536])
    const before = faults.calls
    for (let at = 100; at < 1500; at += 100) await disk.node.write(at, new Uint8Array(100).fill(1), 0)
    expect([disk.size, storage.size, faults.calls - before]).toEqual([1500, 1536, 0])
    await disk.node.writeZeroes(1500, 100, 0)
    expect([disk.size, storage.size]).toEqual([1600, 3072])
    await graph.close()
    expect(storage.size).toBe(1600)
  })

  it('goes on without where the storage has no room to spare', async () => {
    const { graph, disk, storage, faults } = await onStorage()
    faults.arm({ nth: 1, code: 'ENOSPC', kinds: ['truncate'], lasting: true })
    await disk.node.write(0, new Uint8Array(100).fill(1), 0)
    expect([disk.size, storage.size]).toEqual([100, 100])
    faults.disarm()
    await graph.close()
  })

  it('cuts what was allocated ahead when it becomes read-only, and follows new steps', async () => {
    const { graph, disk, storage } = await onStorage()
    await disk.node.write(0, new Uint8Array(100).fill(1), 0)
    await graph.reopen(disk.node, { preallocSize: 5000 })
    await disk.node.write(1536, new Uint8Array(1).fill(1), 0)
    expect(storage.size).toBe(6656)
    await disk.close()
    await graph.reopen('p', { readOnly: true })
    expect(storage.size).toBe(1537)
    await graph.close()
  })

  it('moves no end of a file to which others write: before it has a writer, and when it has none any more', async () => {
    const storage = new MemoryStorage(0)
    const graph = new Graph({ drivers: [preallocate, memoryDriver(new Map([['file', storage]]))] })
    const below = await graph.addNode({ driver: 'memory', name: 'file', nodeName: 'below' })
    const steps = { preallocSize: 1000, preallocAlign: 512 }
    const idle = await graph.addNode({ driver: 'preallocate', nodeName: 'idle', ...steps, file: 'below' })
    const grows = { permissions: Permission.ConsistentRead | Permission.Write | Permission.Resize }
    const writer = await graph.attach(below, grows)
    await writer.truncate(100)
    expect(idle.size).toBe(100)
    await graph.remove('idle')
    expect(storage.size).toBe(100)
    await writer.close()
    // One that had a writer, whose place somebody else takes then.
    const node = await graph.addNode({ driver: 'preallocate', nodeName: 'p', ...steps, file: 'below' })
    const disk = await graph.attach(node)
    await node.write(100, new Uint8Array(100).fill(1), 0)
    expect([node.size, storage.size]).toEqual([200, 1536])
    await disk.close()
    expect([node.size, storage.size]).toEqual([200, 200])
    const other = await graph.attach(below, grows)
    await other.truncate(5000)
    await other.close()
    await graph.close()
    expect(storage.size).toBe(5000)
  })

  it('shows and keeps the new size after a resize inside of what was allocated', async () => {
    const { graph, disk, storage } = await onStorage()
    await disk.node.write(0, new Uint8Array(100).fill(1), 0)
    await disk.truncate(1000)
    expect([disk.size, storage.size]).toEqual([1000, 1000])
    await disk.truncate(50)
    expect([disk.size, storage.size]).toEqual([50, 50])
    await graph.close()
  })

  it('refuses steps that are no sectors', async () => {
    const { graph, disk } = await onStorage()
    const reopening = graph.reopen(disk.node, { preallocAlign: 1000 })
    await expect(reopening).rejects.toThrow('prealloc-align parameter of preallocate filter is not aligned to 512')
    await graph.close()
  })
})

peer('qemu-img', { describe, it }).it('lies below an image that is whole afterwards', async () => {
  await using folder = await TempFolder.make()
  const image = folder.file('image.qcow2')
  const storage = { driver: 'file', filename: image } as const
  const graph = new Graph({ drivers: [file, preallocate, qcow2] })
  await graph.create({ driver: 'qcow2', size: 10 * mebi, file: storage })
  const disk = await graph.add({ driver: 'qcow2', file: { driver: 'preallocate', file: storage } })
  await disk.write(0, new Uint8Array(mebi).fill(5))
  await disk.flush()
  expect((await stat(image)).size).toBeGreaterThan(100 * mebi)
  await graph.close()
  expect((await stat(image)).size).toBeLessThan(10 * mebi)
  const check = JSON.parse((await runTool('qemu-img', ['check', '--output=json', image])).stdout)
  expect(check).toMatchObject({ 'check-errors': 0 })
  expect(check).not.toHaveProperty('leaks')
})
