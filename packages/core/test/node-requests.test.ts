import { describe, expect, it } from 'vitest'
import { done, type OpenImage } from '../src/driver.ts'
import { BlockError, Flag, Node } from '../src/index.ts'
import { topBase } from '../src/options/base-options.ts'
import { bareNode, FakeDrivers } from './fake-drivers.ts'

/** A node of a protocol whose image is `image`, in no graph. */
function nodeOf(image: Partial<OpenImage>, base: Partial<typeof topBase> = {}): Node {
  const node = bareNode(base)
  expect([node.simpleRead, node.simpleWrite]).toEqual([false, false])
  node.attachImage({ size: 4096, read: async () => undefined, ...image })
  return node
}

const bytes = (length: number) => new Uint8Array(length)

describe('the short way', () => {
  it('hands out the very promise of the image, up to the longest transfer and the very end', async () => {
    const promise = Promise.resolve()
    const same = (): Promise<void> => promise
    const node = nodeOf({ limits: { maxTransfer: 100 }, read: same, write: same, flush: same, writeFlags: Flag.Fua })
    expect(node.read(0, bytes(100), 0)).toBe(promise)
    expect(node.read(0, bytes(101), 0)).not.toBe(promise)
    expect(node.write(4000, bytes(96), 0)).toBe(promise)
    expect(node.write(0, bytes(100), 0)).toBe(promise)
    expect(node.write(0, bytes(100), Flag.Fua)).toBe(promise)
    expect(node.write(0, bytes(100), Flag.Fua | Flag.Unchanged)).toBe(promise)
    expect(node.write(0, bytes(101), 0)).not.toBe(promise)
    expect(node.write(0, bytes(1), Flag.MayUnmap)).not.toBe(promise)
    const counted = node.write(4000, bytes(97), 0)
    expect(counted).not.toBe(promise)
    expect(node.flush()).toBe(promise)
    await counted
    expect(node.writtenUpTo).toBe(4097)
    await node.counting(promise, 5)
    expect(node.writtenUpTo).toBe(4097)
    expect(nodeOf({}).flush()).toBe(done)
    expect(nodeOf({ flush: same }, { cache: { direct: false, noFlush: true } }).flush()).toBe(done)
  })

  it('takes only writes whose flags the image knows', async () => {
    const seen: number[] = []
    const node = nodeOf({ write: async (_offset, _buf, flags) => void seen.push(flags) })
    await node.write(0, bytes(1), Flag.Unchanged)
    await node.write(0, bytes(1), Flag.Fua)
    expect(seen).toEqual([Flag.Unchanged, 0])
  })

  it('is not there where the image cannot write, the node is read-only, or a block is longer than a byte', async () => {
    const write = async (): Promise<void> => undefined
    expect(nodeOf({ write }).simpleWrite).toBe(true)
    const reading = nodeOf({})
    expect([reading.simpleRead, reading.simpleWrite]).toEqual([true, false])
    await expect(reading.write(0, bytes(1), 0)).rejects.toMatchObject({
      code: 'ENOTSUP',
      node: 'n',
      message: "driver 'disk' cannot write",
    })
    expect(nodeOf({ write }, { readOnly: true }).simpleWrite).toBe(false)
    expect(nodeOf({ write }, { detectZeroes: 'on' }).simpleWrite).toBe(false)
    const blocks = nodeOf({ write, limits: { alignment: 512 } })
    expect([blocks.simpleRead, blocks.simpleWrite]).toEqual([false, false])
  })
})

describe('a truncate of a node', () => {
  it('is refused where it is read-only or its image has a fixed size', async () => {
    const node = nodeOf({ truncate: async () => undefined }, { readOnly: true })
    await expect(node.truncate(5)).rejects.toMatchObject({ code: 'EPERM', node: 'n' })
    await expect(nodeOf({}).truncate(5)).rejects.toMatchObject({
      code: 'ENOTSUP',
      node: 'n',
      message: 'Image format driver does not support resize',
    })
  })

  it('to the size that it has tells nobody anything', async () => {
    const told: unknown[] = []
    const node = nodeOf({ truncate: async (size) => void told.push(size) })
    node.addWriteNotifier((...given) => void told.push(given))
    node.resizeListeners.add((size) => void told.push(['size', size]))
    await node.truncate(4096)
    node.tellSize()
    expect(told).toEqual([4096])
  })
})

describe('a node', () => {
  it('tells what its image tells of itself, or nothing', async () => {
    expect(await nodeOf({}).info()).toEqual({})
    expect(await nodeOf({ info: async () => ({ clusterSize: 512 }) as never }).info()).toEqual({ clusterSize: 512 })
  })

  it('is closed, and says so, when it has lost its image', async () => {
    const node = nodeOf({})
    node.detachImage()
    const closed = { code: 'ENOMEDIUM', message: 'the node is closed' }
    await expect(node.read(0, bytes(1), 0)).rejects.toMatchObject(closed)
    expect(() => node.control('x')).toThrow('Operation not supported')
  })

  it('has the content of its layer in its file, or in what it shows under another name', async () => {
    const fakes = new FakeDrivers()
    const screen = {
      ...fakes.filter,
      name: 'screen',
      options: { image: { type: 'child', role: 'filtered', required: true, description: 'filtered node' } },
      open: async () => ({ size: 1, read: async () => undefined }),
    } as const
    const graph = fakes.graph([screen])
    const disk = await graph.addUnchecked({
      driver: 'screen',
      image: { driver: 'overlay', nodeName: 'o', file: { driver: 'disk', nodeName: 'a' } },
    })
    expect(disk.node.storage?.node.name).toBe('o')
    expect(graph.find('o')?.storage?.node.name).toBe('a')
    expect(graph.find('a')?.storage).toBeUndefined()
    await graph.close()
  })
})

describe('a disk', () => {
  async function setUp(driver: string, readOnly = false) {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const below = { driver: 'disk', nodeName: 'a' }
    const own = driver === 'disk' ? {} : { file: below }
    const disk = await graph.addUnchecked({ driver, nodeName: driver === 'disk' ? 'a' : 'n', readOnly, ...own })
    return { fakes, graph, disk }
  }

  it('says what is no number of bytes', async () => {
    const { graph, disk } = await setUp('disk')
    const words = (name: string) => `the ${name} -1 is not a whole number of bytes`
    expect(() => disk.extents({ offset: -1 })).toThrow(words('offset'))
    expect(() => disk.extents({ length: -1 })).toThrow(words('length'))
    await expect(disk.truncate(-1)).rejects.toThrow(words('size'))
    await graph.close()
  })

  it('says what it was asked to do that it may not', async () => {
    const { graph, disk } = await setUp('disk')
    const reader = await graph.attach('a', { permissions: 1 })
    for (const [verb, work] of [
      ['truncate', () => reader.truncate(5)],
      ['amend', () => reader.amend({ options: {} })],
      ['repair', () => reader.check({ repair: 'all' })],
      ['change snapshots', () => reader.snapshots.delete('x')],
    ] as const) {
      await expect(work(), verb).rejects.toThrow(`cannot ${verb} on ${reader.describe()}: it was opened for reading`)
    }
    await disk.close()
    await graph.close()
  })

  it('says which node has no checks, amendments or snapshots', async () => {
    const { graph, disk } = await setUp('filter')
    await expect(disk.check({ repair: 'none' })).rejects.toMatchObject({
      code: 'ENOTSUP',
      node: 'n',
      message: 'This image format does not support checks',
    })
    await expect(disk.amend({ options: {} })).rejects.toMatchObject({
      code: 'ENOTSUP',
      message: "Format driver 'filter' does not support option amendment",
    })
    const none = { code: 'ENOTSUP', node: 'n', message: "driver 'filter' has no internal snapshots" }
    expect(() => disk.snapshots).toThrow(expect.objectContaining(none))
    await graph.close()
  })

  it('tells what its image tells, and lists its snapshots', async () => {
    const { fakes, graph, disk } = await setUp('disk')
    const list = [{ id: '1' }]
    fakes.extra.clear()
    disk.node.image.info = async () => ({ clusterSize: 7 }) as never
    Object.assign(disk.node.image.snapshots as object, { list: () => list })
    expect(await disk.info()).toEqual({ clusterSize: 7 })
    expect(disk.snapshots.list()).toBe(list)
    await graph.close()
  })
})

describe('a listener of the size', () => {
  it('that fails is warned of by the name of the node, and the others hear all the same', () => {
    const warnings: string[] = []
    const told: number[] = []
    const node = new Node({
      ...topBase,
      name: 'n',
      driver: new FakeDrivers().disk,
      options: {},
      filename: '',
      children: new Map(),
      warn: (message) => warnings.push(message),
    })
    const image = { size: 1, read: async () => undefined }
    node.attachImage(image)
    node.resizeListeners.add(() => {
      throw new BlockError('EIO', 'deaf')
    })
    node.resizeListeners.add((size) => void told.push(size))
    image.size = 2
    node.tellSize()
    node.tellSize()
    expect([warnings, told]).toEqual([["a listener of the size of node 'n' failed: deaf"], [2]])
  })
})
