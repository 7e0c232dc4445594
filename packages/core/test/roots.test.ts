import { describe, expect, it } from 'vitest'
import { type Disk, Flag, type Graph, type Node, Permission, Root } from '../src/index.ts'
import { FakeDrivers, isPending, settle } from './fake-drivers.ts'

async function setUp(extra: object = {}) {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  fakes.extra.set('a', extra)
  const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a', discard: 'unmap' })
  await graph.addNode({ driver: 'disk', nodeName: 'b', size: 512 })
  fakes.log.length = 0
  return { fakes, graph, disk }
}

const requests: Readonly<Record<string, (disk: Root, signal?: AbortSignal) => Promise<unknown>>> = {
  read: (disk, signal) => disk.read(0, new Uint8Array(4), 0, signal),
  write: (disk, signal) => disk.write(0, new Uint8Array(4), 0, signal),
  writeZeroes: (disk, signal) => disk.writeZeroes(0, 4, 0, signal),
  discard: (disk, signal) => disk.discard(0, 4, signal),
  flush: (disk, signal) => disk.flush(signal),
  status: (disk, signal) => disk.status(0, 4, undefined, signal),
}
const kindOf = { read: 'read', write: 'write', writeZeroes: 'write', discard: 'discard', flush: 'flush' } as const

describe.each(Object.entries(requests))('%s', (name, request) => {
  it('is refused with ENOMEDIUM while there is no medium, and works when one is there again', async () => {
    const { graph, disk } = await setUp()
    await graph.change((change) => change.move(disk.edge, undefined))
    if (name === 'status') expect(await request(disk)).toBeUndefined()
    else await expect(request(disk)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
    await graph.change((change) => change.move(disk.edge, 'b'))
    await request(disk)
    await disk.close()
    await graph.close()
  })

  it('is not begun when its signal is aborted, and a wait ends with it', async () => {
    const { fakes, graph, disk } = await setUp()
    await expect(request(disk, AbortSignal.abort())).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(fakes.log).toEqual([])
    const abort = new AbortController()
    await graph.drained('a', async () => {
      const held = request(disk, abort.signal)
      expect(await isPending(held)).toBe(true)
      abort.abort(new Error('enough'))
      await expect(held).rejects.toMatchObject({ code: 'ECANCELED', cause: { message: 'enough' } })
    })
    expect(fakes.log.filter((step) => /read|write|flush|status/.test(step))).toEqual([])
    await graph.close()
  })

  it('that fails is counted, named after its node, and told to the observer', async () => {
    const { fakes, graph, disk } = await setUp()
    const told: unknown[] = []
    disk.observer = (kind, bytes, _begin, failed) => told.push([kind, bytes, failed])
    const step = { read: 'read', write: 'write', writeZeroes: 'write', status: 'status' }[name] ?? name
    fakes.fail(`a.${step}`, Object.assign(new Error('no space'), { code: 'ENOSPC' }))
    await expect(request(disk)).rejects.toMatchObject({ name: 'BlockError', code: 'ENOSPC', node: 'a' })
    if (name !== 'status') {
      const kind = kindOf[name as keyof typeof kindOf]
      expect(told).toEqual([[kind, name === 'flush' ? 0 : 4, true]])
      expect(disk.statistics[kind].totals()).toMatchObject({ operations: 0, failed: 1 })
    }
    await request(disk)
    await disk.close()
    await graph.close()
  })

  it('whose driver throws at once is a rejection, counted and told as any other', async () => {
    const broken = (): never => {
      throw new Error('at once')
    }
    const { graph, disk } = await setUp({
      read: broken,
      write: broken,
      discard: broken,
      flush: broken,
      blockStatus: broken,
    })
    const told: unknown[] = []
    disk.observer = (kind, _bytes, _begin, failed) => told.push([kind, failed])
    await expect(request(disk)).rejects.toMatchObject({ name: 'BlockError', message: 'at once', node: 'a' })
    if (name !== 'status') {
      const kind = kindOf[name as keyof typeof kindOf]
      expect(told).toEqual([[kind, true]])
      expect(disk.statistics[kind].totals()).toMatchObject({ operations: 0, failed: 1 })
    }
    await graph.drained('a', async () => undefined)
    await disk.close().catch(() => undefined)
    await graph.close()
  })

  it('is told to the observer when it went well, and an observer that throws spoils nothing', async () => {
    const { fakes, graph, disk } = await setUp()
    await request(disk)
    const told: unknown[] = []
    disk.observer = (kind, bytes, begin, failed) => {
      told.push([kind, bytes, typeof begin, failed])
      throw new Error('observer')
    }
    await request(disk)
    if (name !== 'status') {
      const kind = kindOf[name as keyof typeof kindOf]
      expect(told).toEqual([[kind, name === 'flush' ? 0 : 4, 'number', false]])
      expect(fakes.warnings.join()).toContain('observer')
      expect(disk.statistics[kind].totals()).toMatchObject({ operations: 2, failed: 0 })
    }
    await graph.close()
  })
})

describe('arguments', () => {
  const nonNumbers: unknown[] = [
    -1,
    0.5,
    Number.NaN,
    Infinity,
    -Infinity,
    2 ** 53,
    '0',
    null,
    {},
    [],
    1n,
    true,
    undefined,
  ]
  const buffers: unknown[] = [
    undefined,
    null,
    4,
    'text',
    [1, 2],
    {},
    new Uint16Array(2),
    new DataView(new ArrayBuffer(4)),
    new ArrayBuffer(4),
  ]
  const entries: Readonly<Record<string, (disk: Disk, value: never) => Promise<unknown>>> = {
    'read offset': (disk, value) => disk.read(value, new Uint8Array(1)),
    'write offset': (disk, value) => disk.write(value, new Uint8Array(1)),
    'writeZeroes offset': (disk, value) => disk.writeZeroes(value, 1),
    'writeZeroes length': (disk, value) => disk.writeZeroes(0, value),
    'discard offset': (disk, value) => disk.discard(value, 1),
    'discard length': (disk, value) => disk.discard(0, value),
    'status offset': (disk, value) => disk.status(value, 1),
    'status length': (disk, value) => disk.status(0, value),
    truncate: (disk, value) => disk.truncate(value),
  }

  it.each(Object.entries(entries))('%s must be a whole number of bytes', async (_, entry) => {
    const { fakes, graph, disk } = await setUp()
    for (const value of nonNumbers) {
      await expect(entry(disk, value as never), String(value)).rejects.toMatchObject({
        code: 'EINVAL',
        message: expect.stringContaining(String(value)),
      })
    }
    expect(fakes.log).toEqual([])
    await graph.drained('a', async () => undefined)
    await graph.close()
  })

  it('extents and their limits must be whole numbers of bytes', async () => {
    const { graph, disk } = await setUp()
    for (const value of [-1, 0.5, Number.NaN, Infinity, 2 ** 53, '0', null, {}]) {
      expect(() => disk.extents({ offset: value as never }), String(value)).toThrow('is not a whole number of bytes')
      expect(() => disk.extents({ length: value as never }), String(value)).toThrow('is not a whole number of bytes')
    }
    await graph.close()
  })

  it.each(['read', 'write'] as const)('the buffer of %s must be one of bytes, or nothing is wedged', async (kind) => {
    const { fakes, graph, disk } = await setUp()
    for (const buf of buffers) {
      await expect(disk[kind](0, buf as never), String(buf)).rejects.toThrow('the buffer is not a Uint8Array')
    }
    await disk.write(0, Buffer.from([1]))
    await disk.read(0, new Uint8ClampedArray(1) as never)
    expect(fakes.log).toEqual(['a.write', 'a.read'])
    await disk.close()
    await graph.close()
  })

  it('flags that there are not are refused', async () => {
    const { graph, disk } = await setUp()
    for (const flags of [32, -1, 0.5, Number.NaN, '1', null, {}, 2 ** 32 + 1]) {
      const attempts = [
        disk.read(0, new Uint8Array(1), flags as never),
        disk.write(0, new Uint8Array(1), flags as never),
        disk.writeZeroes(0, 1, flags as never),
      ]
      for (const attempt of attempts) await expect(attempt).rejects.toThrow(`there are no such flags: ${String(flags)}`)
    }
    await disk.write(0, new Uint8Array(1), Flag.Fua | Flag.Unchanged | Flag.MayUnmap | Flag.NoFallback)
    await graph.close()
  })

  it('requests past the end are refused with EIO, those up to it are not, and empty ones pass', async () => {
    const { fakes, graph, disk } = await setUp()
    const end = 4096
    for (const attempt of [
      () => disk.read(end, new Uint8Array(1)),
      () => disk.write(end - 1, new Uint8Array(2)),
      () => disk.writeZeroes(end, 1),
      () => disk.discard(1, end),
      () => disk.read(Number.MAX_SAFE_INTEGER, new Uint8Array(1)),
      () => disk.writeZeroes(0, 2 ** 40),
    ]) {
      await expect(attempt()).rejects.toMatchObject({ code: 'EIO', message: expect.stringContaining('ends at 4096') })
    }
    expect(fakes.log).toEqual([])
    for (const request of [
      disk.read(end - 1, new Uint8Array(1)),
      disk.write(0, new Uint8Array(end)),
      disk.writeZeroes(end - 1, 1),
      disk.discard(0, end),
      disk.read(end, new Uint8Array(0)),
    ])
      await request
    expect(await disk.status(end, 1)).toBeUndefined()
    await graph.close()
  })

  it('no request is longer than 2 GiB less a sector, however large the disk', async () => {
    const { fakes, graph, disk } = await setUp({ size: 2 ** 40, writeZeroes: async () => undefined })
    const long = { length: 2 ** 31, BYTES_PER_ELEMENT: 1 }
    const buf = new Proxy(new Uint8Array(1), {
      get: (target, key) => (key in long ? long[key as keyof typeof long] : Reflect.get(target, key)),
    })
    await expect(disk.read(0, buf)).rejects.toMatchObject({ name: 'BlockError' })
    expect(fakes.log).toEqual([])
    await disk.writeZeroes(2 ** 40 - 4096, 4096)
    await graph.close()
  })

  it('of the graph itself are refused with a clear error', async () => {
    const { graph } = await setUp()
    const wrong = graph as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>
    for (const value of [undefined, null, 5, true, Symbol.iterator, () => undefined]) {
      for (const method of ['open', 'addUnchecked', 'addNode', 'createUnchecked', 'attach', 'remove', 'reopen']) {
        const call = async (): Promise<unknown> => wrong[method]?.call(graph, value)
        await expect(call(), `${method}(${String(value)})`).rejects.toMatchObject({ name: 'BlockError' })
      }
      await expect(wrong.reopen?.('a', value), `reopen('a', ${String(value)})`).rejects.toMatchObject({
        code: 'EINVAL',
      })
      await expect(wrong.replace?.('a', value)).rejects.toMatchObject({ name: 'BlockError' })
      await expect(wrong.insertFilter?.('a', value)).rejects.toMatchObject({ name: 'BlockError' })
      await expect(wrong.setChild?.('a', value, 'b')).rejects.toMatchObject({ name: 'BlockError' })
    }
    for (const permissions of [-1, 32, 0.5, Number.NaN, '1', 2 ** 40]) {
      await expect(graph.attach('a', { permissions: permissions as never })).rejects.toMatchObject({ code: 'EINVAL' })
      await expect(graph.attach('a', { shared: permissions as never })).rejects.toMatchObject({ code: 'EINVAL' })
    }
    await graph.drained('a', async () => undefined)
    await graph.close()
  })
})

describe('permissions of a root', () => {
  it('a root that may only read is refused every change, with the reason', async () => {
    const { graph } = await setUp()
    const reader = await graph.attach('a', { permissions: Permission.ConsistentRead })
    for (const [kind, verb] of [
      ['write', 'write'],
      ['writeZeroes', 'write zeroes'],
      ['discard', 'discard'],
    ] as const) {
      await expect(requests[kind]?.(reader)).rejects.toMatchObject({
        code: 'EPERM',
        message: `cannot ${verb} on disk 'json:{"driver": "disk"}': it was opened for reading`,
      })
    }
    await expect(reader.truncate(1)).rejects.toMatchObject({ code: 'EPERM' })
    await expect(reader.amend({ options: {} })).rejects.toMatchObject({ code: 'EPERM' })
    await expect(reader.write(0, new Uint8Array(1), Flag.Unchanged)).rejects.toMatchObject({ code: 'EPERM' })
    for (const change of [
      () => reader.snapshots.create({ name: 's' }),
      () => reader.snapshots.apply('s'),
      () => reader.snapshots.delete('s'),
      () => reader.check({ repair: 'all' }),
      () => reader.check({ repair: 'leaks' }),
    ]) {
      await expect(change()).rejects.toMatchObject({ code: 'EPERM', message: expect.stringContaining('for reading') })
    }
    await reader.snapshots.load('s')
    await reader.check({ repair: 'none' })
    expect(reader.edge.permissions).toBe(Permission.ConsistentRead)
    await graph.close()
  })

  it('a read-only disk says that it is read-only', async () => {
    const { graph } = await setUp()
    const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'r', readOnly: true })
    expect(disk.readOnly).toBe(true)
    await expect(disk.write(0, new Uint8Array(1))).rejects.toThrow('it is read-only')
    await graph.close()
  })

  it('write-unchanged permission lets only writes pass that say so', async () => {
    const { graph } = await setUp()
    const stream = await graph.attach('a', { permissions: Permission.WriteUnchanged })
    await stream.write(0, new Uint8Array(1), Flag.Unchanged)
    await stream.writeZeroes(0, 1, Flag.Unchanged)
    await expect(stream.write(0, new Uint8Array(1))).rejects.toMatchObject({ code: 'EPERM' })
    await expect(stream.writeZeroes(0, 1)).rejects.toMatchObject({ code: 'EPERM' })
    await expect(stream.discard(0, 1)).rejects.toMatchObject({ code: 'EPERM' })
    await graph.close()
  })

  it('a writethrough disk has every write on stable storage', async () => {
    const flags: number[] = []
    const { graph } = await setUp({
      write: async (_offset: number, _buf: Uint8Array, flag: number) => void flags.push(flag),
    })
    const through = await graph.attach('a', { writethrough: true })
    const back = await graph.attach('a')
    for (const disk of [through, back]) {
      await disk.write(0, new Uint8Array(1))
      await disk.writeZeroes(0, 1)
    }
    expect(flags).toEqual([Flag.Fua, Flag.Fua, 0, 0])
    await graph.close()
  })
})

describe('a root', () => {
  it('tells of its size when the disk is resized, by whomever, and when another medium stands there', async () => {
    const { graph, disk } = await setUp()
    await graph.attach('a')
    const filter = await graph.addUnchecked({ driver: 'filter', nodeName: 'f', file: 'a' })
    const told: unknown[] = []
    disk.onResize(() => {
      throw new Error('listener')
    })
    const end = disk.onResize((size) => told.push(['disk', size]))
    filter.onResize((size) => told.push(['filter', size]))
    await filter.truncate(8192)
    expect(told.sort()).toEqual([
      ['disk', 8192],
      ['filter', 8192],
    ])
    told.length = 0
    await disk.truncate(8192)
    await graph.change((change) => change.move(disk.edge, 'b'))
    await graph.change((change) => change.move(disk.edge, undefined))
    expect(told).toEqual([
      ['disk', 512],
      ['disk', 0],
    ])
    told.length = 0
    await graph.setChild('f', 'file', 'b')
    expect(told).toEqual([['filter', 512]])
    end()
    await graph.change((change) => change.move(disk.edge, 'a'))
    expect(told).toEqual([['filter', 512]])
    await graph.close()
  })

  it('counts other work: a section waits for it, its own requests pass, and those of others do not', async () => {
    const { fakes, graph, disk } = await setUp()
    const other = await graph.attach('a')
    let go = (): void => undefined
    const work = disk.whileCounted(async () => {
      await new Promise<void>((resolve) => (go = resolve))
      await disk.read(0, new Uint8Array(1))
      return 'done'
    })
    const section = graph.drained('a', async () => fakes.log.push('section'))
    await settle()
    const held = other.flush()
    expect(await isPending(section)).toBe(true)
    go()
    expect(await work).toBe('done')
    await section
    await held
    expect(fakes.log.filter((step) => /read|section|flush/.test(step))).toEqual(['a.read', 'section', 'a.flush'])
    await graph.close()
  })

  it('counted work that fails or throws at once is named and leaves nothing behind', async () => {
    const { graph, disk } = await setUp()
    await expect(disk.whileCounted(() => Promise.reject(new Error('broken')))).rejects.toMatchObject({
      name: 'BlockError',
      message: 'broken',
      node: 'a',
    })
    const broken = (): never => {
      throw new Error('at once')
    }
    await expect(disk.whileCounted(broken)).rejects.toThrow('at once')
    await graph.drained('a', async () => {
      expect(await isPending(disk.read(0, new Uint8Array(1)))).toBe(true)
    })
    await graph.close()
  })

  it('is attached once at a time', async () => {
    const { graph, disk } = await setUp()
    const permissions = { permissions: Permission.ConsistentRead, shared: Permission.All }
    await expect(graph.attachRoot(disk, { permissions })).rejects.toMatchObject({ code: 'EBUSY' })
    expect([...graph.roots]).toEqual([disk])
    const root = new Root(graph.find('b') as Node, { description: 'mine', permissions })
    expect(await graph.attachRoot(root, { permissions })).toBe(root)
    expect(root.describe()).toBe('mine')
    await graph.detachRoot(root)
    await graph.detachRoot(root)
    expect(root.closed).toBe(true)
    await graph.close()
  })

  it('knows its node, its size and its name', async () => {
    const { graph, disk } = await setUp()
    expect([disk.nodeName, disk.filename, disk.size, disk.readOnly, disk.closed, disk.node]).toEqual([
      'a',
      'json:{"driver": "disk"}',
      4096,
      false,
      false,
      (graph as Graph).find('a'),
    ])
    expect(disk.describe()).toBe(`disk '${disk.filename}'`)
    await graph.close()
  })
})
