import { describe, expect, it } from 'vitest'
import type { ChildHandle, OpenImage } from '../src/driver.ts'
import type { BlockStatus, DriverDescriptor, Node } from '../src/index.ts'
import { chainStatus } from '../src/internal.ts'
import { FakeDrivers } from './fake-drivers.ts'

type Status = Partial<BlockStatus> & { readonly at?: number }

/** A format whose status the test tells: one run per entry, the last goes to the end. */
async function chain(layers: Readonly<Record<string, Status[]>>, extra: Partial<OpenImage> = {}, sizes: number[] = []) {
  const fakes = new FakeDrivers()
  const told: DriverDescriptor = {
    name: 'told',
    kind: 'format',
    description: 'tells what the test says',
    options: {
      file: { type: 'child', role: 'storage', required: true, description: 'storage' },
      backing: { type: 'child', role: 'cow', description: 'backing file' },
      size: { type: 'integer', required: true, description: 'bytes' },
    },
    open: async ({ children, nodeName, options }) => ({
      size: options.size as number,
      read: async () => undefined,
      blockStatus: async (offset, length) => {
        const runs = layers[nodeName] ?? []
        const run = runs.findLast(({ at = 0 }) => at <= offset) ?? {}
        const next = runs.find(({ at = 0 }) => at > offset)
        const { at = 0, ...status } = run
        return {
          data: false,
          zero: false,
          allocated: false,
          ...(status.offset === undefined ? {} : { file: children.require('file') }),
          ...status,
          ...(status.offset === undefined ? {} : { offset: status.offset + offset - at }),
          length: status.length ?? Math.min(length, (next?.at ?? Infinity) - offset),
        }
      },
      ...extra,
    }),
  }
  const graph = fakes.graph([told])
  let backing: string | undefined
  for (const [i, name] of Object.keys(layers).entries()) {
    const below = backing === undefined ? {} : { backing }
    await graph.addNode({
      driver: 'told',
      nodeName: name,
      size: sizes[i] ?? 1000,
      ...below,
      file: { driver: 'disk', nodeName: `${name}-file` },
    })
    backing = name
  }
  const disk = await graph.attach(backing as string)
  const extents = async (options = {}): Promise<string[]> => {
    const found: string[] = []
    for await (const extent of disk.extents(options)) {
      const words = [`${extent.offset}+${extent.length}`, extent.node.name, extent.depth]
      for (const word of ['data', 'zero', 'present', 'compressed'] as const) if (extent[word]) words.push(word)
      if (extent.hostOffset !== undefined) words.push(`@${extent.hostOffset} ${extent.file?.nodeName}`)
      found.push(words.join(' '))
    }
    return found
  }
  return { fakes, graph, disk, extents }
}

const data = { data: true, allocated: true }

describe('extents', () => {
  it('name the layer that decides, down to the end of the chain', async () => {
    const { graph, extents } = await chain({
      base: [{ ...data, offset: 0 }, { at: 600 }],
      mid: [{}, { at: 200, zero: true, allocated: true }, { at: 300 }],
      top: [{}, { at: 100, ...data, offset: 5000 }, { at: 150, ...data, compressed: true }, { at: 160 }],
    })
    expect(await extents()).toEqual([
      '0+100 base 2 data present @0 base-file',
      '100+50 top 0 data present @5000 top-file',
      '150+10 top 0 data present compressed',
      '160+40 base 2 data present @160 base-file',
      '200+100 mid 1 zero present',
      '300+300 base 2 data present @300 base-file',
      '600+400 base 2 zero',
    ])
    expect(await extents({ base: graph.find('base') })).toEqual([
      '0+100 mid 1 zero',
      '100+50 top 0 data present @5000 top-file',
      '150+10 top 0 data present compressed',
      '160+40 mid 1 zero',
      '200+100 mid 1 zero present',
      '300+700 mid 1 zero',
    ])
    expect(await extents({ offset: 120, length: 35 })).toEqual([
      '120+30 top 0 data present @5020 top-file',
      '150+5 top 0 data present compressed',
    ])
    expect(await extents({ offset: 1000 })).toEqual([])
    expect(await extents({ length: 0 })).toEqual([])
    await graph.close()
  })

  it('past the end of a backing file are zeroes of the layer above it', async () => {
    const { graph, extents } = await chain({ base: [data], top: [{}] }, {}, [300, 1000])
    expect(await extents()).toEqual(['0+300 base 1 data present', '300+700 top 0 zero present'])
    await graph.close()
  })

  it('merge neighbours that go on, and only those', async () => {
    const { graph, extents } = await chain({
      top: [
        { ...data, offset: 100 },
        { at: 10, ...data, offset: 110 },
        { at: 20, ...data, offset: 500 },
        { at: 30, ...data },
        { at: 40, ...data },
        { at: 50, ...data, zero: true },
        { at: 60, ...data, zero: true, compressed: true },
      ],
    })
    expect(await extents()).toEqual([
      '0+20 top 0 data present @100 top-file',
      '20+10 top 0 data present @500 top-file',
      '30+20 top 0 data present',
      '50+10 top 0 data zero present',
      '60+940 top 0 data zero present compressed',
    ])
    await graph.close()
  })

  it('ask the storage where it may know more: zeroes of stored data, or all there is to tell', async () => {
    const hole = async (_offset: number, length: number) => ({
      length: Math.min(50, length),
      data: false,
      zero: true,
      allocated: true,
    })
    for (const [recurse, words] of [
      ['zeroes', 'data zero present @0 top-file'],
      ['all', 'zero present'],
    ] as const) {
      const { fakes, graph, disk, extents } = await chain({ top: [{ ...data, offset: 0, recurse }] })
      const file = graph.find('top-file') as Node
      file.image = { ...file.image, size: 1000, blockStatus: hole }
      expect(await extents()).toEqual([`0+1000 top 0 ${words}`])
      expect((await disk.status(0, 1000))?.length).toBe(50)
      expect(fakes.log).not.toContain('top-file.status')
      await graph.close()
    }
  })

  it('say where the data stands in the words of the storage that knows all', async () => {
    const { graph, extents } = await chain({ top: [{ ...data, offset: 0, recurse: 'all' }] })
    const file = graph.find('top-file') as Node
    const at = async (offset: number, length: number) => ({ length, ...data, zero: false, offset: offset + 7 })
    file.image = { ...file.image, size: 1000, blockStatus: at as never }
    expect(await extents()).toEqual(['0+1000 top 0 data present @7 top-file'])
    const inner = { ...file.image, blockStatus: undefined as never }
    file.image = inner
    expect(await extents()).toEqual(['0+1000 top 0 data present @0 top-file'])
    await graph.close()
  })

  it('take nothing for zeroes that storage with a backing file does not have', async () => {
    const { graph, disk, extents } = await chain({ top: [{ ...data, offset: 0, recurse: 'all' }] })
    const file = graph.find('top-file') as Node
    const nothing = async (_: number, length: number) => ({ length, data: false, zero: false, allocated: false })
    file.image = { ...file.image, size: 1000, blockStatus: nothing }
    expect(await extents()).toEqual(['0+1000 top 0'])
    expect(await disk.status(0, 10)).toMatchObject({ data: false, zero: false, present: false })
    expect(await disk.node.blockStatus(0, 10)).toMatchObject({ allocated: false, zero: false })
    await graph.close()
  })

  it('do not ask the storage about what is zeroes already, or has no place there', async () => {
    const { fakes, graph, extents } = await chain({
      top: [
        { zero: true, allocated: true, recurse: 'all', offset: 0 },
        { at: 500, ...data, recurse: 'all' },
      ],
    })
    expect(await extents()).toEqual(['0+500 top 0 zero present @0 top-file', '500+500 top 0 data present'])
    expect(fakes.log).not.toContain('top-file.status')
    await graph.close()
  })
})

describe('the status of a driver', () => {
  it('that makes no progress is an error, not a loop', async () => {
    for (const length of [0, -1, Number.NaN]) {
      const { graph, disk, extents } = await chain({ top: [{ ...data, length }] })
      await expect(disk.status(0, 10)).rejects.toMatchObject({ code: 'EIO', node: 'top' })
      await expect(extents()).rejects.toThrow('at least 1 is due')
      await graph.close()
    }
  })

  it('that tells more than was asked for is cut', async () => {
    const { graph, disk } = await chain({ top: [{ ...data, length: 5000 }] })
    expect((await disk.status(10, 20))?.length).toBe(20)
    expect((await disk.status(990, 100))?.length).toBe(10)
    await graph.close()
  })

  it('is asked for in whole blocks, and its answer holds from the asked offset on', async () => {
    const asked: [number, number][] = []
    const { graph, disk } = await chain(
      { top: [] },
      {
        limits: { alignment: 100 },
        blockStatus: async (offset: number, length: number) => {
          asked.push([offset, length])
          return { length, data: true, zero: false, allocated: true, offset: 7000 }
        },
      },
    )
    expect(await disk.status(250, 100)).toMatchObject({ offset: 250, length: 100, hostOffset: 7050 })
    expect(asked).toEqual([[200, 200]])
    await graph.close()
  })

  it('of a node that has none is data', async () => {
    const { graph, disk } = await chain({ top: [] }, { blockStatus: undefined as never })
    expect(await disk.status(10, 20)).toMatchObject({ length: 20, data: true, zero: false, present: true })
    await graph.close()
  })

  it('of a filter is that of what it filters, without a level of its own', async () => {
    const { graph } = await chain({ base: [{ ...data, offset: 3 }], top: [{}] })
    const filter = await graph.addNode({ driver: 'filter', nodeName: 'f', file: 'top' })
    const extent = await chainStatus(filter, undefined, 0, 1000)
    expect([extent.node.name, extent.depth, extent.hostOffset]).toEqual(['base', 1, 3])
    const above = await chainStatus(filter, graph.find('top'), 0, 1000)
    expect([above.node.name, above.present]).toEqual(['f', false])
    expect(await filter.blockStatus(0, 1000)).toMatchObject({ allocated: false, data: false })
    await graph.close()
  })
})

describe('a child', () => {
  it('reads as zeroes past its end, and tells a status of them', async () => {
    const { graph } = await chain({ top: [{}] })
    const file = graph.find('top')?.children.get('file') as ChildHandle
    await file.write(4090, new Uint8Array(6).fill(9))
    const buf = new Uint8Array(12).fill(5)
    await file.read(4090, buf)
    expect([...buf]).toEqual([9, 9, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0])
    await file.read(9000, buf)
    expect(buf.every((byte) => byte === 0)).toBe(true)
    expect(await file.chainStatus(9000, 7)).toMatchObject({ length: 7, data: false, zero: true })
    expect(await file.chainStatus(4000, 500)).toMatchObject({ length: 96, data: true, zero: false })
    expect(await file.blockStatus(9000, 7)).toEqual({ length: 7, data: false, zero: true, allocated: false })
    await file.discard(9000, 5)
    expect([file.size, file.readOnly, file.nodeName, file.zeroInit, file.limits.alignment]).toEqual([
      4096,
      false,
      'top-file',
      true,
      1,
    ])
    await graph.close()
  })

  it('without the permission to resize takes no write past its last sector', async () => {
    const { fakes, graph } = await chain({ base: [{}], top: [{}] })
    const backing = graph.find('top')?.backing as ChildHandle
    const message = "write of 2000 bytes at 0 is past the end of node 'base' (1000 bytes)"
    await expect(backing.write(0, new Uint8Array(2000))).rejects.toMatchObject({
      code: 'ENOSPC',
      message,
      node: 'base',
    })
    await expect(backing.writeZeroes(1000, 600)).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(fakes.log).not.toContain('base.write')
    await graph.close()
  })

  it('says so where it keeps no point in time and cannot copy without memory', async () => {
    const { graph } = await chain({ top: [{}] })
    const file = graph.find('top')?.children.get('file') as ChildHandle
    const none = { code: 'ENOTSUP', message: "node 'top-file' keeps no point in time to read" }
    await expect(file.readSnapshot(0, new Uint8Array(1))).rejects.toMatchObject(none)
    await expect(file.snapshotStatus(0, 1)).rejects.toMatchObject(none)
    await expect(file.copyRange(0, file, 0, 1)).rejects.toMatchObject({ code: 'ENOTSUP' })
    expect(file.debugEvent('x')).toBeUndefined()
    await graph.close()
  })

  it('copies inside its storage where nothing has to look at the bytes', async () => {
    const { graph } = await chain({ top: [{}] })
    const node = graph.find('top-file') as Node
    const file = graph.find('top')?.children.get('file') as ChildHandle
    const copies: unknown[] = []
    const { image } = node
    const size = 4096
    node.attachImage({
      size,
      read: image.read,
      write: async () => undefined,
      close: async () => undefined,
      copyRange: async (offset, target, targetOffset, length) =>
        void copies.push([offset, target.size, targetOffset, length]),
    })
    await file.copyRange(0, file, 1024, 512)
    expect([copies, node.writtenUpTo]).toEqual([[[0, size, 1024, 512]], 1536])
    await expect(file.copyRange(4000, file, 0, 512)).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(file.copyRange(0, file, 4096, 512)).rejects.toMatchObject({ code: 'ENOSPC' })
    node.addDirtyBitmap(512)
    await expect(file.copyRange(0, file, 0, 512)).rejects.toMatchObject({ code: 'ENOTSUP' })
    expect(copies).toHaveLength(1)
    await graph.close()
  })
})
