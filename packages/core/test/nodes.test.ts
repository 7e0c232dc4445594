import { describe, expect, it } from 'vitest'
import { emptyMedium } from '../src/driver.ts'
import { BlockError, Flag, Graph, type Node, systemClock } from '../src/index.ts'
import { readOnlyError } from '../src/request/layer.ts'
import { FakeDrivers, settle } from './fake-drivers.ts'

async function list(extra = {}, options: object = {}) {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  fakes.extra.set('m', extra)
  const children = ['a', 'b', 'c'].map((nodeName) => ({ driver: 'disk', nodeName }))
  const disk = await graph.addUnchecked({ driver: 'many', nodeName: 'm', children, ...options })
  fakes.log.length = 0
  return { fakes, graph, disk }
}

describe('a flush', () => {
  it('reaches every child that may have been written, and fails when one of several does, after all have ended', async () => {
    for (const failing of ['a', 'b', 'c']) {
      const { fakes, graph, disk } = await list()
      fakes.fail(`${failing}.flush`)
      const slow = fakes.hold(`${failing === 'c' ? 'a' : 'c'}.flush`)
      let ended = false
      const flush = disk.flush().finally(() => {
        ended = true
      })
      flush.catch(() => undefined)
      await slow.arrived
      await settle()
      expect(ended).toBe(false)
      slow.open()
      await expect(flush).rejects.toThrow(`${failing}.flush fails`)
      expect(fakes.log.sort()).toEqual(['a.flush', 'b.flush', 'c.flush'])
      await disk.flush()
      await graph.close()
    }
  })

  it('reaches the children although the image could not flush itself, whose error is told first', async () => {
    const flush = () => {
      throw new BlockError('EIO', 'own')
    }
    const { fakes, graph, disk } = await list({ flush })
    fakes.fail('b.flush')
    await expect(disk.flush()).rejects.toThrow('own')
    expect(fakes.log.sort()).toEqual(['a.flush', 'b.flush', 'c.flush'])
    await graph.close().catch(() => undefined)
  })

  it('leaves children alone that the image flushes itself, or that nobody may have written', async () => {
    const own = await list({ flush: async () => undefined, flushesChildren: true })
    await own.disk.flush()
    expect(own.fakes.log).toEqual([])
    await own.graph.close()
    const reading = await list({}, { readOnly: true })
    await reading.disk.flush()
    expect(reading.fakes.log).toEqual([])
    await reading.graph.close()
  })

  it('ends at a protocol that is told not to pass it on, and not at a format', async () => {
    const { fakes, graph, disk } = await list({ flush: async () => void fakes.log.push('m.flush') })
    // Children that were opened with it follow, those with a mode of their own do not.
    await graph.reopen('m', { cache: { noFlush: true } })
    fakes.log.length = 0
    await disk.flush()
    expect(fakes.log).toEqual(['m.flush'])
    for (const name of ['b', 'c']) await graph.reopen(name, { cache: { noFlush: false } })
    fakes.log.length = 0
    await disk.flush()
    expect(fakes.log.sort()).toEqual(['b.flush', 'c.flush', 'm.flush'])
    await graph.close()
  })

  it('tells a storage that listens what it is about to do', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const heard: string[] = []
    fakes.extra.set('s', {
      debugEvent: (event) => {
        heard.push(event)
        return undefined
      },
    })
    const disk = await graph.addUnchecked({ driver: 'filter', file: { driver: 'disk', nodeName: 's' } })
    await disk.flush()
    expect(heard).toEqual(['flush_to_os', 'flush_to_disk'])
    await graph.reopen(disk.node, { cache: { noFlush: true } })
    heard.length = 0
    await disk.flush()
    expect(heard).toEqual(['flush_to_os'])
    await graph.close()
  })
})

describe('a node', () => {
  it('takes the short way only where nothing has to look at a request', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    const { node } = disk
    const ways = () => [node.simpleRead, node.simpleWrite]
    expect(ways()).toEqual([true, true])
    const bitmap = node.addDirtyBitmap()
    expect([bitmap.granularity, ...ways()]).toEqual([65536, true, false])
    node.removeDirtyBitmap(bitmap)
    expect([node.dirtyBitmaps, ...ways()]).toEqual([[], true, true])
    const ends = [node.addWriteNotifier(() => undefined), node.addWriteNotifier(() => undefined)]
    expect(ways()).toEqual([true, false])
    for (const end of ends) end()
    expect([node.writeNotifiers, ...ways()]).toEqual([[], true, true])
    node.probeGuard = () => false
    node.updatePaths()
    expect(ways()).toEqual([true, false])
    await graph.close()
    expect(node.isEmpty).toBe(true)
    await expect(node.read(0, new Uint8Array(1), 0)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
    await expect(node.write(0, new Uint8Array(1), 0)).rejects.toMatchObject({ code: 'ENOTSUP' })
  })

  it('that listens to events of its own is told of each write', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const heard: string[] = []
    fakes.extra.set('a', {
      debugEvent: async (event) => {
        heard.push(event)
      },
    })
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    fakes.fail('a.write')
    await expect(disk.write(0, new Uint8Array(1))).rejects.toThrow('a.write fails')
    expect(heard).toEqual(['pwritev', 'pwritev_done'])
    await graph.close()
  })

  it('splits what is longer than its image takes at once, and no more', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const lengths: number[] = []
    fakes.extra.set('a', {
      limits: { maxTransfer: 100 },
      read: async (_offset, buf) => void lengths.push(buf.length),
      write: async (_offset, buf) => void lengths.push(buf.length),
    })
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    for (const length of [100, 101]) {
      await disk.read(0, new Uint8Array(length))
      await disk.write(0, new Uint8Array(length))
    }
    expect(lengths).toEqual([100, 100, 100, 1, 100, 1])
    await graph.close()
  })

  it('finds operations that only some drivers have, in itself or below', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    fakes.extra.set('a', { control: { stop: (...words: string[]) => words.join() } })
    const disk = await graph.addUnchecked({ driver: 'filter', file: { driver: 'disk', nodeName: 'a' } })
    expect(disk.node.control('stop')('x', 'y')).toBe('x,y')
    expect(() => disk.node.control('go')).toThrow(expect.objectContaining({ code: 'ENOTSUP', node: 'a' }))
    await graph.close()
  })

  it('has the clock of its graph, the words of its errors, and no content where there is no medium', async () => {
    const clock = { ...systemClock }
    const fakes = new FakeDrivers()
    const graph = new Graph({ drivers: [fakes.disk], clock })
    const node: Node = await graph.addNode({ driver: 'disk', nodeName: 'a' })
    expect(node.clock).toBe(clock)
    expect(readOnlyError(node)).toMatchObject({ code: 'EPERM', node: 'a', message: "Block node 'a' is read-only" })
    const empty = emptyMedium()
    expect([empty.name, empty.filename, empty.size, empty.isEmpty, empty.cache]).toEqual([
      '',
      '',
      0,
      true,
      { direct: false, noFlush: false },
    ])
    expect(empty.clock).toBe(systemClock)
    await graph.close()
  })

  it('counts the furthest write on the short way, too, and passes flags that the image honours', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    await disk.write(10, new Uint8Array(5))
    await disk.write(0, new Uint8Array(5))
    expect(disk.node.writtenUpTo).toBe(15)
    fakes.log.length = 0
    await disk.write(0, new Uint8Array(5), Flag.Fua)
    await disk.write(0, new Uint8Array(5), Flag.MayUnmap)
    expect(fakes.log).toEqual(['a.write', 'a.write'])
    await graph.close()
  })
})
