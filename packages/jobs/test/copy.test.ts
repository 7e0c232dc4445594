import { Permission } from '@diskgraph/core'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { copy } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { contentOf, scribble, stack } from './stack.ts'

const mebibyte = 2 ** 20

describe('a copy', () => {
  const seed = randomSeed()
  it.each(Array.from({ length: 30 }, (_, i) => seed + i))(
    'of a random layout reads as its source (seed %i)',
    async (own) => {
      const random = new Random(own)
      const { graph, ...make } = stack()
      await using _ = graph
      const size = random.between(1, 5 * mebibyte)
      const clusterSize = random.pick([512, 4096, 65536])
      const source = random.chance(0.5)
        ? await make.plain('source', size)
        : await make.qcow2('source', { size, clusterSize })
      await scribble(source, random)
      const room = random.chance(0.3) ? random.between(1, mebibyte) : 0
      const target = random.chance(0.5)
        ? await make.plain('target', source.size + room)
        : await make.qcow2('target', { size: source.size + room, clusterSize: random.pick([512, 65536]) })
      await scribble(target, random)
      const before = await contentOf(target)
      await copy(source, target, {
        sparseSize: random.pick([0, 512, 4096, 65536]),
        targetIsZero: random.pick([undefined, false]),
        parallel: random.between(1, 9),
        ordered: random.chance(0.5),
        offload: random.chance(0.3),
      })
      before.set(await contentOf(source))
      expect(Buffer.compare(await contentOf(target), before)).toBe(0)
    },
  )

  it('takes several disks behind each other, and a part of them', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const random = new Random(1)
    const sources = [await make.plain('a', 70_000), await make.plain('b', 1), await make.plain('c', 5000)]
    for (const disk of sources) await disk.write(0, random.bytes(disk.size))
    const all = Buffer.concat(await Promise.all(sources.map((disk) => contentOf(disk))))
    const whole = await make.plain('whole', all.length)
    await copy(sources, whole)
    expect(Buffer.compare(await contentOf(whole), all)).toBe(0)
    const part = await make.plain('part', 10_000)
    await copy(sources, part, { skip: 65_000, length: 6000 })
    const expected = Buffer.concat([all.subarray(65_000, 71_000), Buffer.alloc(4000)])
    expect(Buffer.compare(await contentOf(part), expected)).toBe(0)
  })

  it('stores no zeroes, unless it is told to', async () => {
    const { graph, storages, ...make } = stack()
    await using _ = graph
    const source = await make.plain('source', 4 * mebibyte)
    await source.write(0, new Uint8Array(2 * mebibyte))
    await source.write(mebibyte, new Uint8Array(4096).fill(1))
    await copy(source, await make.plain('sparse', source.size))
    expect(storages.get('sparse')?.allocatedSize).toBe(4096)
    await copy(source, await make.plain('full', source.size), { sparseSize: 0 })
    expect(storages.get('full')?.allocatedSize).toBe(4 * mebibyte)
  })

  it('makes what the target held before read as zeroes', async () => {
    const { graph, storages, ...make } = stack()
    await using _ = graph
    const source = await make.plain('source', mebibyte)
    for (const options of [{}, { targetIsZero: false }, { sparseSize: 0 }]) {
      const target = await make.plain('target', mebibyte)
      await target.write(5000, new Uint8Array(70_000).fill(1))
      await copy(source, target, options)
      expect(Buffer.compare(await contentOf(target), new Uint8Array(mebibyte))).toBe(0)
      await target.close()
    }
    expect(storages.get('target')?.allocatedSize).toBe(mebibyte)
  })

  it('of the top layer leaves the rest to the backing file of the target', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const base = await make.qcow2('base', { size: mebibyte })
    await base.write(0, new Uint8Array(mebibyte).fill(1))
    await base.close()
    const source = await make.qcow2('source', { size: mebibyte, backing: 'base' })
    await source.write(65536, new Uint8Array(100).fill(2))
    await source.writeZeroes(4 * 65536, 65536)
    const target = await make.qcow2('target', { size: mebibyte, backing: 'base' })
    await copy(source, target, { sync: 'top' })
    expect(Buffer.compare(await contentOf(target), await contentOf(source))).toBe(0)
    const own: number[] = []
    for await (const { offset, depth } of target.extents()) if (depth === 0) own.push(offset)
    expect(own).toEqual([65536, 4 * 65536])
  })

  it('in full does not show the backing file of the target', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const base = await make.qcow2('base', { size: mebibyte })
    await base.write(0, new Uint8Array(mebibyte).fill(1))
    await base.close()
    const source = await make.plain('source', mebibyte)
    await source.write(70_000, new Uint8Array(100).fill(2))
    const target = await make.qcow2('target', { size: mebibyte, backing: 'base' })
    await copy(source, target)
    expect(Buffer.compare(await contentOf(target), await contentOf(source))).toBe(0)
  })

  it('can be compressed, where the target can', async () => {
    const { graph, storages, ...make } = stack()
    await using _ = graph
    const source = await make.plain('source', 4 * mebibyte)
    await source.write(0, new Uint8Array(4 * mebibyte).fill(1))
    const target = await make.qcow2('target', { size: source.size })
    await copy(source, target, { compressed: true })
    expect(Buffer.compare(await contentOf(target), await contentOf(source))).toBe(0)
    expect(storages.get('target')?.allocatedSize).toBeLessThan(mebibyte)
    await expect(copy(source, await make.plain('plain', source.size), { compressed: true })).rejects.toMatchObject({
      code: 'ENOTSUP',
    })
  })

  it('does not begin where the target is too small', async () => {
    const { graph, storages, ...make } = stack()
    await using _ = graph
    const source = await make.plain('source', 1001)
    await source.write(0, new Uint8Array(1001).fill(1))
    const target = await make.plain('target', 1000)
    await expect(copy(source, target)).rejects.toMatchObject({
      code: 'ENOSPC',
      message: 'cannot copy 1001 bytes to a target of 1000 bytes',
    })
    expect(storages.get('target')?.allocatedSize).toBe(0)
  })

  it.each([{ parallel: 0 }, { speed: 0 }, { speed: Number.NaN }, { speed: -1 }])('refuses %j', async (options) => {
    const { graph, ...make } = stack()
    await using _ = graph
    const source = await make.plain('source', 1001)
    await expect(copy(source, source, options)).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('writes in the order of the disk, to anything that takes writes', async () => {
    const { graph, faults, ...make } = stack()
    await using _ = graph
    faults.jitter = new Random(1)
    const source = await make.plain('source', 9 * mebibyte, true)
    const random = new Random(2)
    for (let at = 0; at < 9; at += 3) await source.write(at * mebibyte, random.bytes(mebibyte))
    const written: Uint8Array[] = []
    await copy(
      source,
      { write: async (_offset, buf) => void written.push(buf.slice()), writeZeroes: async () => undefined },
      { sparseSize: 0 },
    )
    expect(Buffer.compare(Buffer.concat(written), await contentOf(source))).toBe(0)
  })

  it('holds no more chunks in memory than are to be on their way', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const source = await make.plain('source', 64 * mebibyte)
    await source.write(0, new Uint8Array(64 * mebibyte).fill(1))
    const buffers = new Set<ArrayBufferLike>()
    let inFlight = 0
    let most = 0
    const target = {
      async write(_offset: number, buf: Uint8Array): Promise<void> {
        buffers.add(buf.buffer)
        most = Math.max(most, ++inFlight)
        await new Promise((resolve) => setImmediate(resolve))
        inFlight--
      },
      writeZeroes: async () => undefined,
    }
    await copy(source, target, { parallel: 3, ordered: false })
    expect(most).toBe(3)
    expect(buffers.size).toBe(3)
    expect([...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0)).toBe(6 * mebibyte)
  })

  it('lets the graph change meanwhile', async () => {
    const { graph, faults, ...make } = stack()
    await using _ = graph
    faults.jitter = new Random(3)
    const source = await make.plain('source', 32 * mebibyte, true)
    await source.write(0, new Uint8Array(source.size).fill(7))
    const target = await make.plain('target', source.size)
    const copying = copy(source, target, { parallel: 2 })
    for (let i = 0; i < 5; i++) {
      const filter = await graph.insertFilterUnchecked(source.node, { driver: faults.driver })
      await graph.removeFilter(filter)
    }
    await copying
    expect(Buffer.compare(await contentOf(target), await contentOf(source))).toBe(0)
  })

  it('tells what cannot be read, and puts zeroes there', async () => {
    const { graph, faults, ...make } = stack()
    await using _ = graph
    const source = await make.plain('source', 4 * mebibyte, true)
    await source.write(0, new Uint8Array(source.size).fill(1))
    const target = await make.plain('target', source.size)
    // Of the reads of one chunk only the smallest parts are given up, so one lasting failure is one sector at last.
    faults.arm({ nth: 1, code: 'EIO', kinds: ['read'], lasting: true })
    const unreadable: number[] = []
    await copy(source, target, {
      parallel: 1,
      length: 2048,
      onUnreadable: (offset, error) => {
        unreadable.push(offset)
        expect(error).toMatchObject({ code: 'EIO' })
        if (offset === 512) faults.disarm()
      },
    })
    expect(unreadable).toEqual([0, 512])
    const expected = new Uint8Array(2048).fill(1).fill(0, 0, 1024)
    expect(Buffer.compare(await contentOf(target, 2048), expected)).toBe(0)
  })
})

describe('the permissions of a copy', () => {
  it('are those of its disks', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const source = await make.plain('source', 1000)
    const other = await make.plain('other', 1000)
    const reader = await graph.attach(other.node, { permissions: Permission.ConsistentRead })
    await expect(copy(source, reader)).rejects.toMatchObject({
      code: 'EPERM',
      request: { operation: 'write', disk: 'target', offset: 0 },
    })
  })
})
