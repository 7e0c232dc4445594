import { describe, expect, it } from 'vitest'
import type { OpenImage } from '../src/driver.ts'
import type { Edge } from '../src/graph/edge.ts'
import { type DriverDescriptor, Flag, Permission } from '../src/index.ts'
import { FakeDrivers } from './fake-drivers.ts'

/** An edge that may do everything but resize, on an image of 1000 bytes that tells what reaches it. */
async function setUp(extra: Partial<OpenImage> = {}) {
  const fakes = new FakeDrivers()
  const log: unknown[][] = []
  const bytes = new Uint8Array(1000).fill(7)
  fakes.extra.set('a', {
    size: 1000,
    read: async (offset, buf, flags, signal) => {
      log.push(['read', offset, buf.length, flags, signal])
      buf.set(bytes.subarray(offset, offset + buf.length))
    },
    write: async (offset, buf, flags, signal) => void log.push(['write', offset, buf.length, flags, signal]),
    discard: async (offset, length, signal) => void log.push(['discard', offset, length, signal]),
    ...extra,
  })
  const other: DriverDescriptor = { ...fakes.disk, name: 'other', prefixes: [] }
  const graph = fakes.graph([other])
  await graph.addUnchecked({
    driver: 'overlay',
    nodeName: 'o',
    file: { driver: 'disk', nodeName: 'a', discard: 'unmap' },
  })
  const node = graph.find('a')
  const edge = graph.find('o')?.children.get('file') as Edge
  if (node === undefined) throw new Error('there is no node')
  // The size of the literal above is fixed, as that of a device is.
  edge.permissions = Permission.Write | Permission.ConsistentRead
  const { signal } = new AbortController()
  return { fakes, graph, edge, node, log, signal }
}

describe('an edge', () => {
  it('reads to the very end as it is asked to, and zeroes behind it, whatever was in the buffer', async () => {
    const { graph, edge, log, signal } = await setUp()
    log.length = 0
    const buf = new Uint8Array(100).fill(9)
    await edge.read(900, buf, Flag.Unchanged, signal)
    await edge.read(950, buf, Flag.Unchanged, signal)
    expect([...buf]).toEqual([...new Array(50).fill(7), ...new Array(50).fill(0)])
    expect(log).toEqual([
      ['read', 900, 100, Flag.Unchanged, signal],
      ['read', 950, 50, Flag.Unchanged, signal],
    ])
    log.length = 0
    for (const offset of [1000, 5000]) {
      buf.fill(9)
      await edge.read(offset, buf)
      expect(buf.every((byte) => byte === 0)).toBe(true)
    }
    expect(log).toEqual([])
    await edge.read(0, buf)
    expect(log).toEqual([['read', 0, 100, 0, undefined]])
    await graph.close()
  })

  it('fills up the last sector, and refuses what goes further, with or without zeroes', async () => {
    const { graph, edge, log, signal } = await setUp()
    log.length = 0
    await edge.write(900, new Uint8Array(124), Flag.Unchanged, signal)
    await edge.write(0, new Uint8Array(8))
    await edge.writeZeroes(900, 124)
    expect(log).toEqual([
      ['write', 900, 124, Flag.Unchanged, signal],
      ['write', 0, 8, 0, undefined],
      ['write', 900, 124, 0, undefined],
    ])
    const message = (offset: number) => `write of 125 bytes at ${offset} is past the end of node 'a' (1000 bytes)`
    const refusal = { code: 'ENOSPC', node: 'a', message: message(900) }
    await expect(edge.write(900, new Uint8Array(125))).rejects.toMatchObject(refusal)
    await expect(edge.writeZeroes(900, 125)).rejects.toMatchObject(refusal)
    edge.permissions |= Permission.Resize
    await edge.write(900, new Uint8Array(125))
    await edge.writeZeroes(900, 125)
    await graph.close()
  })

  it('discards no more than there is, and nothing behind the end', async () => {
    const { graph, edge, log, signal } = await setUp()
    log.length = 0
    await edge.discard(900, 500, signal)
    await edge.discard(100, 50)
    for (const offset of [1000, 2000]) await edge.discard(offset, 5)
    expect(log).toEqual([
      ['discard', 900, 100, signal],
      ['discard', 100, 50, undefined],
    ])
    await graph.close()
  })

  it('knows that there are zeroes behind the end', async () => {
    const { graph, edge } = await setUp()
    const behind = { length: 50, data: false, zero: true, present: false }
    for (const offset of [1000, 2000]) expect(await edge.chainStatus(offset, 50)).toEqual(behind)
    expect(await edge.chainStatus(999, 1)).toMatchObject({ length: 1, data: true })
    await graph.close()
  })

  it('starts as zeroes unless the image says that it does not', async () => {
    for (const [zeroInit, expected] of [
      [undefined, true],
      [true, true],
      [false, false],
    ] as const) {
      const { graph, edge } = await setUp(zeroInit === undefined ? {} : { zeroInit })
      expect(edge.zeroInit).toBe(expected)
      await graph.close()
    }
  })

  it('passes on what an image keeps of a point in time, and its events', async () => {
    const heard: unknown[] = []
    const status = { length: 9, data: true, zero: false, allocated: true }
    const { graph, edge, signal } = await setUp({
      readSnapshot: async (...given) => void heard.push(given),
      snapshotStatus: async (...given) => {
        heard.push(given)
        return status
      },
      debugEvent: async (event) => void heard.push(event),
    })
    const buf = new Uint8Array(3)
    await edge.readSnapshot(5, buf, signal)
    expect(await edge.snapshotStatus(6, 9, signal)).toEqual(status)
    await edge.debugEvent('flush_to_os')
    expect(heard).toEqual([[5, buf, signal], [6, 9, signal], 'flush_to_os'])
    await graph.close()
  })

  it('is named after whoever holds it', async () => {
    const { graph, edge } = await setUp()
    expect([edge.parentName, edge.filename, edge.nodeName]).toEqual(['o', 'json:{"driver": "disk"}', 'a'])
    expect(edge.describe()).toBe("node 'o' (uses node 'a' as 'file' child)")
    const [root] = graph.roots
    expect(root?.edge.parentName).toBe(root?.describe())
    await graph.close()
  })

  it('tells its parent of another size only when it is another', async () => {
    const { graph, edge, node } = await setUp()
    const sizes: number[] = []
    const disk = [...graph.roots][0]
    graph.find('o')?.resizeListeners.add((size) => void sizes.push(size))
    await graph.addNode({ driver: 'disk', nodeName: 'same', size: 1000 })
    await graph.addNode({ driver: 'disk', nodeName: 'longer', size: 2000 })
    await graph.setChild('o', 'file', 'same')
    expect([sizes, edge.size]).toEqual([[], 1000])
    await graph.setChild('o', 'file', 'longer')
    expect([sizes, disk?.edge.size]).toEqual([[2000], 2000])
    expect(node.parents.size).toBe(0)
    await graph.close()
  })
})

describe('a copy between two nodes', () => {
  async function pair(settings: { target?: Partial<OpenImage>; driver?: string } = {}) {
    const copies: unknown[][] = []
    const at = await setUp({
      copyRange: async (offset, target, targetOffset, length, signal) =>
        void copies.push([offset, target, targetOffset, length, signal]),
    })
    at.fakes.extra.set('t', { size: 1000, write: async () => undefined, ...settings.target })
    const file = { driver: settings.driver ?? 'disk', nodeName: 't' }
    await at.graph.addUnchecked({ driver: 'overlay', nodeName: 'p', file })
    const target = at.graph.find('p')?.children.get('file') as Edge
    target.permissions = Permission.Write | Permission.ConsistentRead
    return { ...at, target, copies }
  }
  const without = { code: 'ENOTSUP', message: 'these two nodes cannot copy without memory' }

  it('is one of their images, up to the very end of both', async () => {
    const { graph, edge, target, copies, signal } = await pair()
    await edge.copyRange(900, target, 900, 100, signal)
    await edge.copyRange(0, target, 24, 1000)
    const { image } = target.node
    expect(copies).toEqual([
      [900, image, 900, 100, signal],
      [0, image, 24, 1000, undefined],
    ])
    expect(target.node.writtenUpTo).toBe(1024)
    await graph.close()
  })

  it('is refused past the end of the source, and past the last sector of the target', async () => {
    const { graph, edge, target, copies } = await pair()
    await expect(edge.copyRange(900, target, 0, 101)).rejects.toMatchObject({
      code: 'EINVAL',
      message: 'copy of 101 bytes at 900 passes the end of the source',
    })
    await expect(edge.copyRange(0, target, 25, 1000)).rejects.toMatchObject({ code: 'ENOSPC', node: 't' })
    expect(copies).toEqual([])
    target.permissions |= Permission.Resize
    await edge.copyRange(0, target, 25, 1000)
    expect(copies).toHaveLength(1)
    await graph.close()
  })

  it('is refused where somebody has to look at the bytes on the way, or the other is of another kind', async () => {
    const kinds = [{ driver: 'other' }, { target: { limits: { alignment: 512 } } }]
    for (const settings of kinds) {
      const { graph, edge, target, copies } = await pair(settings)
      await expect(edge.copyRange(0, target, 0, 1)).rejects.toMatchObject(without)
      expect(copies).toEqual([])
      await graph.close()
    }
    const watched = await pair()
    watched.node.simpleRead = false
    await expect(watched.edge.copyRange(0, watched.target, 0, 1)).rejects.toMatchObject(without)
    watched.node.simpleRead = true
    watched.target.node.addWriteNotifier(() => undefined)
    await expect(watched.edge.copyRange(0, watched.target, 0, 1)).rejects.toMatchObject(without)
    await expect(watched.edge.copyRange(0, { ...watched.target } as never, 0, 1)).rejects.toMatchObject(without)
    await expect(watched.target.copyRange(0, watched.edge, 0, 1)).rejects.toMatchObject(without)
    await watched.graph.close()
  })
})
