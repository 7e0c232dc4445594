import { describe, expect, it } from 'vitest'
import { type ChildHandle, Passthrough } from '../src/driver.ts'
import { type DriverDescriptor, Flag, Graph, Permission } from '../src/index.ts'
import { FakeDrivers } from './fake-drivers.ts'

/** A format whose writes go behind the end of its storage, as a log's do. */
async function setUp() {
  const fakes = new FakeDrivers()
  let file: ChildHandle | undefined
  const log: DriverDescriptor = {
    name: 'log',
    kind: 'format',
    description: 'appends',
    options: { file: { type: 'child', role: 'storage', required: true, description: 'storage' } },
    open: async ({ children }) => {
      file = children.require('file')
      return { size: 2 ** 20, read: async () => undefined, write: async () => undefined }
    },
  }
  const graph = fakes.graph([log])
  await graph.addUnchecked({
    driver: 'log',
    readOnly: false,
    autoReadOnly: true,
    file: { driver: 'filter', nodeName: 'f', file: { driver: 'disk', nodeName: 'a', size: 512 } },
  })
  const reader = await graph.attach('a', { permissions: Permission.ConsistentRead, shared: Permission.All })
  const above = await graph.attach('f', { permissions: Permission.ConsistentRead, shared: Permission.All })
  const told: unknown[] = []
  reader.onResize((size) => told.push(['a', size]))
  above.onResize((size) => told.push(['f', size]))
  return { fakes, graph, told, file: file as unknown as ChildHandle }
}

const ways: Readonly<Record<string, (file: ChildHandle, offset: number) => Promise<void>>> = {
  write: (file, offset) => file.write(offset, new Uint8Array(512).fill(1)),
  'write with FUA': (file, offset) => file.write(offset, new Uint8Array(512).fill(1), Flag.Fua),
  zeroes: (file, offset) => file.writeZeroes(offset, 512),
}

describe.each(Object.entries(ways))('a %s that makes a node grow', (_, grow) => {
  it('is told to everybody above, each time', async () => {
    const { graph, told, file } = await setUp()
    await grow(file, 512)
    expect(told.sort()).toEqual([
      ['a', 1024],
      ['f', 1024],
    ])
    await file.truncate(512)
    told.length = 0
    await grow(file, 512)
    expect(told.sort()).toEqual([
      ['a', 1024],
      ['f', 1024],
    ])
    told.length = 0
    await grow(file, 0)
    expect(told).toEqual([])
    await graph.close()
  })

  it('is recorded by dirty bitmaps', async () => {
    const { graph, file } = await setUp()
    const bitmap = graph.find('a')?.addDirtyBitmap(512)
    await grow(file, 1024)
    expect([bitmap?.size, bitmap?.get(0), bitmap?.get(1024)]).toEqual([1536, false, true])
    await graph.close()
  })
})

describe('a truncate', () => {
  it('that fails after it has changed the size tells of the size', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    fakes.extra.set('a', {
      truncate: async () => {
        fakes.content.set('a', new Uint8Array(1024))
        throw new Error('half way')
      },
    })
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    const bitmap = disk.node.addDirtyBitmap(512)
    const told: number[] = []
    disk.onResize((size) => told.push(size))
    await expect(disk.truncate(2048)).rejects.toThrow('half way')
    expect([told, bitmap.size]).toEqual([[1024], 1024])
    await graph.close()
  })

  it('to a smaller size is told to notifiers first, which may refuse it', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    const told: unknown[] = []
    const end = disk.node.addWriteNotifier(async (offset, length, kind) => {
      told.push([offset, length, kind])
      if (offset === 0) throw new Error('no')
    })
    await disk.truncate(8192)
    await disk.truncate(1024)
    await expect(disk.truncate(0)).rejects.toThrow('no')
    expect([told, disk.size]).toEqual([
      [
        [1024, 7168, 'discard'],
        [0, 1024, 'discard'],
      ],
      1024,
    ])
    end()
    await disk.truncate(0)
    expect(disk.size).toBe(0)
    await graph.close()
  })
})

describe('limits that do not fit together', () => {
  it('are made to: every piece is at least one unit long', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const pieces: [string, number][] = []
    fakes.extra.set('a', {
      limits: {
        alignment: 512,
        maxTransfer: 100,
        writeZeroesAlignment: 1024,
        maxWriteZeroes: 512,
        discardAlignment: 1024,
        maxDiscard: 1,
      },
      read: async (_offset, buf) => void pieces.push(['read', buf.length]),
      write: async (_offset, buf) => void pieces.push(['write', buf.length]),
      writeZeroes: async (_offset, length) => void pieces.push(['zeroes', length]),
      discard: async (_offset, length) => void pieces.push(['discard', length]),
    })
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a', discard: 'unmap' })
    await disk.read(0, new Uint8Array(1024))
    await disk.write(0, new Uint8Array(1024))
    await disk.writeZeroes(0, 2048)
    await disk.discard(0, 2048)
    expect(pieces).toEqual([
      ['read', 512],
      ['read', 512],
      ['write', 512],
      ['write', 512],
      ['zeroes', 1024],
      ['zeroes', 1024],
      ['discard', 1024],
      ['discard', 1024],
    ])
    await graph.close()
  })

  it('that a driver leaves out, or says are undefined, are those of anything', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    fakes.extra.set('a', { limits: { alignment: undefined, maxTransfer: undefined } as never })
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    await disk.write(1, new Uint8Array(3))
    expect(disk.node.limits).toMatchObject({ alignment: 1, maxTransfer: 2 ** 31 - 512 })
    await graph.close()
  })

  it('of a filter follow the node behind it', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    fakes.extra.set('b', { limits: { alignment: 512 } })
    await graph.addNode({ driver: 'disk', nodeName: 'b' })
    const disk = await graph.addUnchecked({
      driver: 'filter',
      nodeName: 'g',
      file: { driver: 'filter', nodeName: 'f', file: { driver: 'disk', nodeName: 'a' } },
    })
    expect([disk.node.limits.alignment, disk.node.simpleRead]).toEqual([1, true])
    await graph.setChild('f', 'file', 'b')
    expect([disk.node.limits.alignment, disk.node.simpleRead]).toEqual([512, false])
    await graph.close()
  })
})

describe('the guard of a guessed format', () => {
  it('looks at whole blocks of an image that takes nothing else', async () => {
    const reads: number[] = []
    const fakes = new FakeDrivers()
    const blocks: DriverDescriptor = {
      name: 'raw',
      kind: 'format',
      description: 'raw with blocks',
      options: { file: { type: 'child', role: 'data', required: true, description: 'storage' } },
      open: async ({ children }) =>
        Object.defineProperties(new Passthrough(children.require('file')), {
          limits: { value: { alignment: 1024 } },
          read: {
            value: async (_offset: number, buf: Uint8Array) => void reads.push(buf.length),
          },
        }),
    }
    const signed: DriverDescriptor = { ...blocks, name: 'signed', probe: (head) => (head[0] === 83 ? 100 : 0) }
    const graph = new Graph({ drivers: [fakes.disk, blocks, signed] })
    const disk = await graph.open('disk:a')
    await disk.write(0, new Uint8Array(2048))
    await expect(disk.write(0, new Uint8Array(1024).fill(83))).rejects.toMatchObject({ code: 'EPERM' })
    expect(reads.every((length) => length % 1024 === 0)).toBe(true)
    expect(reads.length).toBeGreaterThan(0)
    await graph.close()
  })
})
