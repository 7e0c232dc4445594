import { describe, expect, it } from 'vitest'
import { type Disk, type Node, Permission, Root } from '../src/index.ts'
import { FakeDrivers, isPending, settle } from './fake-drivers.ts'

async function setUp() {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  const disk = await graph.addUnchecked({ driver: 'filter', nodeName: 'f', file: { driver: 'disk', nodeName: 'a' } })
  fakes.log.length = 0
  return { fakes, graph, disk }
}

const wholeImage: Readonly<Record<string, (disk: Disk) => Promise<unknown>>> = {
  truncate: (disk) => disk.truncate(8192),
  check: (disk) => disk.check({ repair: 'none' }),
  amend: (disk) => disk.amend({ options: {} }),
  'snapshot-create': (disk) => disk.snapshots.create({ name: 's' }),
  'snapshot-apply': (disk) => disk.snapshots.apply('s'),
  'snapshot-delete': (disk) => disk.snapshots.delete('s'),
  'snapshot-load': (disk) => disk.snapshots.load('s'),
}

async function plain() {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
  fakes.log.length = 0
  return { fakes, graph, disk }
}

describe.each(Object.entries(wholeImage))('%s', (step, run) => {
  it('is waited for by the closing of the disk and of the graph', async () => {
    const { fakes, graph, disk } = await plain()
    const gate = fakes.hold(`a.${step}`)
    const work = run(disk)
    await gate.arrived
    const closings = [disk.close(), graph.close()]
    await settle()
    expect(fakes.log).not.toContain('a.close')
    for (const closing of closings) expect(await isPending(closing)).toBe(true)
    gate.open()
    await Promise.all([work, ...closings])
    expect(fakes.log.at(-1)).toBe('a.close')
  })

  it.each(Object.keys(wholeImage))('does not overlap with %s, nor with a request', async (other) => {
    const { fakes, graph, disk } = await plain()
    const gate = fakes.hold(`a.${step}`)
    const first = run(disk)
    await gate.arrived
    fakes.log.length = 0
    const second = wholeImage[other]?.(disk) as Promise<unknown>
    const write = disk.write(0, new Uint8Array(1))
    expect(await isPending(Promise.race([second, write]))).toBe(true)
    expect(fakes.log).toEqual([])
    gate.open()
    await Promise.all([first, second, write])
    expect(disk.edge.permissions).toBe(Permission.ConsistentRead | Permission.Write)
    await graph.close()
  })

  it('is refused on a disk that is closed', async () => {
    const { graph, disk } = await plain()
    await disk.close()
    await expect((async () => run(disk))()).rejects.toMatchObject({ name: 'BlockError' })
    await graph.close()
  })
})

describe('closing a disk', () => {
  it('waits for requests in flight, and refuses those that come after', async () => {
    const { fakes, disk } = await setUp()
    const gate = fakes.hold('a.write')
    const write = disk.write(0, new Uint8Array(1))
    await gate.arrived
    const closing = disk.close()
    await settle()
    const late = disk.read(0, new Uint8Array(1))
    expect(await isPending(closing)).toBe(true)
    expect(fakes.log).not.toContain('a.close')
    gate.open()
    await Promise.all([write, closing])
    await expect(late).rejects.toMatchObject({ code: 'ENOMEDIUM' })
    expect(disk.closed).toBe(true)
    await expect(disk.flush()).rejects.toMatchObject({ code: 'ENOMEDIUM' })
    await expect(disk.status(0, 1)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
    await expect(disk.whileCounted(async () => undefined)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
    await expect(disk.truncate(0)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
  })

  it('flushes, then closes from the top down', async () => {
    const { fakes, disk } = await setUp()
    await disk.close()
    expect(fakes.log.filter((step) => /flush|close/.test(step))).toEqual(['f.close', 'a.flush', 'a.close'])
  })

  it('is one closing, however often and by whomever it is asked for', async () => {
    const { fakes, graph, disk } = await setUp()
    const gate = fakes.hold('a.close')
    const calls = [disk.close(), disk.close(), disk[Symbol.asyncDispose](), graph.close(), graph[Symbol.asyncDispose]()]
    await gate.arrived
    for (const call of calls) expect(await isPending(call)).toBe(true)
    gate.open()
    await Promise.all(calls)
    expect(fakes.log.filter((step) => step === 'a.close')).toHaveLength(1)
  })

  it.each(['f.close', 'a.close', 'a.flush'])('reports that %s failed, and closes all the same', async (step) => {
    const { fakes, graph, disk } = await setUp()
    fakes.fail(step)
    await expect(disk.close()).rejects.toThrow(`${step} fails`)
    expect([...graph.nodes]).toEqual([])
    expect(fakes.log).toContain('a.close')
    await graph.close()
  })

  it('goes well although an image fails to give back permissions', async () => {
    const { fakes, graph, disk } = await setUp()
    fakes.fail('f.loosening')
    fakes.fail('a.loosening', undefined, 1)
    await disk.close()
    expect([...graph.nodes]).toEqual([])
    expect([...graph.roots]).toEqual([])
    expect(fakes.warnings.join()).toContain('f.loosening fails')
  })

  it('is not held up by an image that throws at once', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const broken = (): never => {
      throw new Error('at once')
    }
    fakes.extra.set('a', { flush: broken, close: broken, read: broken, write: broken, discard: broken })
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a', discard: 'unmap' })
    const requests = [
      () => disk.read(0, new Uint8Array(1)),
      () => disk.write(0, new Uint8Array(1)),
      () => disk.writeZeroes(0, 1),
      () => disk.discard(0, 1),
      () => disk.flush(),
    ]
    for (const request of requests) await expect(request()).rejects.toThrow('at once')
    await expect(disk.close()).rejects.toThrow('at once')
    expect([...graph.nodes]).toEqual([])
  })

  it('leaves a node open that others use, and that was added by itself', async () => {
    const { graph, disk } = await setUp()
    await graph.addNode({ driver: 'disk', nodeName: 'b' })
    const [first, second, other] = [await graph.attach('b'), await graph.attach('b'), await graph.attach('a')]
    await first.close()
    await second.close()
    expect(graph.find('b')).toBeDefined()
    await disk.close()
    expect(graph.find('f')).toBeUndefined()
    await other.write(0, new Uint8Array(1))
    await other.close()
    expect([...graph.nodes].map(({ name }) => name)).toEqual(['b'])
    await graph.close()
  })
})

describe('closing a graph', () => {
  it('also ends users that were attached by a change that waited when it began', async () => {
    const { fakes, graph } = await setUp()
    let end = (): void => undefined
    const change = graph.change(() => new Promise<void>((resolve) => (end = resolve)))
    await settle()
    const attaching = graph.attach('f')
    const closing = graph.close()
    end()
    await Promise.all([change, closing])
    const late = await attaching
    expect([...graph.nodes]).toEqual([])
    expect([...graph.roots]).toEqual([])
    expect(late.closed).toBe(true)
    expect(fakes.log.at(-1)).toBe('a.close')
  })

  it('closes a node that only a user who waited to be attached has, too', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    await graph.addNode({ driver: 'disk', nodeName: 'a' })
    let end = (): void => undefined
    const change = graph.change(() => new Promise<void>((resolve) => (end = resolve)))
    await settle()
    const attaching = graph.attach('a')
    const closing = graph.close()
    end()
    await Promise.all([change, closing, attaching])
    expect([[...graph.nodes], [...graph.roots]]).toEqual([[], []])
  })

  it('tries everything, then throws the first error', async () => {
    const { fakes, graph } = await setUp()
    for (const name of ['b', 'c']) await graph.addUnchecked({ driver: 'disk', nodeName: name })
    await graph.addNode({ driver: 'disk', nodeName: 'd' })
    for (const name of ['b', 'c', 'd']) fakes.fail(`${name}.close`)
    await expect(graph.close()).rejects.toThrow('b.close fails')
    expect([...graph.nodes]).toEqual([])
    for (const name of ['a', 'b', 'c', 'd']) expect(fakes.log).toContain(`${name}.close`)
    await graph.close()
  })

  it('refuses everything new until it has ended, and then the graph may be used again', async () => {
    const { fakes, graph } = await setUp()
    await graph.addNode({ driver: 'disk', nodeName: 'n' })
    const gate = fakes.hold('a.close')
    const closing = graph.close()
    await gate.arrived
    const root = new Root(graph.find('n') as Node, {
      description: 'r',
      permissions: { permissions: 0, shared: Permission.All },
    })
    const attempts = [
      graph.addUnchecked({ driver: 'disk' }),
      graph.open('disk:x'),
      graph.addNode({ driver: 'disk' }),
      graph.attach('n'),
      graph.attachRoot(root, { permissions: { permissions: 0, shared: Permission.All } }),
      graph.change(async () => undefined),
      graph.reopen('n', {}),
      graph.remove('n'),
    ]
    for (const attempt of attempts) await expect(attempt).rejects.toMatchObject({ code: 'ENODEV' })
    gate.open()
    await closing
    const again = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    await again.close()
  })

  it('aborts openings, and waits for their ends', async () => {
    const fakes = new FakeDrivers()
    let signal: AbortSignal | undefined
    let end = (): void => undefined
    const slow = {
      ...fakes.disk,
      name: 'slow',
      open: (context: { readonly signal: AbortSignal | undefined }) => {
        signal = context.signal
        return new Promise<never>((_, reject) => {
          end = () => reject(new Error('aborted at last'))
        })
      },
    }
    const graph = fakes.graph([slow])
    const opening = graph.addUnchecked({ driver: 'filter', file: { driver: 'slow' } })
    opening.catch(() => undefined)
    await settle()
    const closing = graph.close()
    expect(await isPending(closing)).toBe(true)
    expect(signal?.aborted).toBe(true)
    end()
    await closing
    await expect(opening).rejects.toThrow('aborted at last')
    expect([...graph.nodes]).toEqual([])
    await (await graph.addUnchecked({ driver: 'disk' })).close()
  })

  it('closes nodes that were added by themselves in any order of use', async () => {
    const { fakes, graph, disk } = await setUp()
    await disk.close()
    await graph.addNode({ driver: 'disk', nodeName: 'below' })
    await graph.addNode({ driver: 'filter', nodeName: 'above', file: 'below' })
    await graph.addNode({ driver: 'filter', nodeName: 'top', file: 'above' })
    fakes.log.length = 0
    await graph.close()
    expect([...graph.nodes]).toEqual([])
    expect(fakes.log.filter((step) => step.endsWith('close'))).toEqual(['top.close', 'above.close', 'below.close'])
  })
})

describe('removing a node', () => {
  it('is refused while it is used, blocked, or missing', async () => {
    const { graph } = await setUp()
    await expect(graph.remove('a')).rejects.toThrow("Node 'a' is busy: node is used as 'file' of node 'f'")
    await expect(graph.remove('none')).rejects.toMatchObject({ code: 'ENODEV' })
    const node = await graph.addNode({ driver: 'disk', nodeName: 'n' })
    const release = graph.block('n', { reason: 'a job', operations: ['remove'] })
    await expect(graph.remove('n')).rejects.toThrow("Node 'n' is busy: a job")
    release()
    node.pins++
    await expect(graph.remove('n')).rejects.toThrow('it is being opened')
    node.pins--
    await graph.remove('n')
    expect(graph.find('n')).toBeUndefined()
    await graph.close()
  })

  it('reports what closing it reports', async () => {
    const { fakes, graph } = await setUp()
    await graph.addNode({ driver: 'disk', nodeName: 'n' })
    fakes.fail('n.close')
    await expect(graph.remove('n')).rejects.toThrow('n.close fails')
    expect(graph.find('n')).toBeUndefined()
    await graph.close()
  })
})

describe('extents', () => {
  it.each([
    ['truncate', (disk: Disk) => disk.truncate(1024)],
    ['close', (disk: Disk) => disk.close()],
  ] as const)('end when %s comes in between', async (_, change) => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    let zero = false
    fakes.extra.set('a', {
      blockStatus: async (_offset, length) => {
        await fakes.step('a.status')
        zero = !zero
        return { length: Math.min(512, length), data: !zero, zero, allocated: true }
      },
    })
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a' })
    const extents = disk.extents()
    expect((await extents.next()).done).toBe(false)
    const gate = fakes.hold('a.status')
    const next = extents.next()
    await gate.arrived
    const changing = change(disk)
    expect(await isPending(changing)).toBe(true)
    gate.open()
    await changing
    let count = 0
    const rest = async (): Promise<void> => {
      await next
      for await (const _extent of extents) count++
    }
    await rest().catch((error) => expect(error.code).toBe('ENOMEDIUM'))
    expect(count).toBeLessThan(8)
    await graph.close()
  })
})
