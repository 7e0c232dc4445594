import { describe, expect, it } from 'vitest'
import { BlockError, type ErrorCode, Passthrough, type ReopenChange } from '../src/driver.ts'
import { type DriverDescriptor, Permission } from '../src/index.ts'
import { FakeDrivers, stateOf } from './fake-drivers.ts'

const plain: DriverDescriptor = {
  name: 'plain',
  kind: 'protocol',
  description: 'cannot reopen',
  options: {
    file: { type: 'child', role: 'data', description: 'child' },
    mode: { type: 'string', default: '', reopen: true, description: 'anything' },
    kind: { type: 'string', default: '', description: 'fixed' },
  },
  open: async () => ({ size: 512, read: async () => undefined, write: async () => undefined }),
}
const sieve: DriverDescriptor = {
  name: 'sieve',
  kind: 'filter',
  description: 'a filter that cannot reopen itself',
  options: {
    file: { type: 'child', role: 'filtered', required: true, description: 'child' },
    mode: { type: 'string', default: '', reopen: true, description: 'anything' },
  },
  open: async ({ children }) => new Passthrough(children.require('file')),
}
const quoting: DriverDescriptor = {
  ...plain,
  name: 'quoting',
  options: {
    list: {
      type: 'list',
      description: 'things',
      items: { type: 'object', description: 'thing', properties: { a: { type: 'integer', description: 'number' } } },
    },
  },
}
const mute: DriverDescriptor = {
  ...plain,
  name: 'mute',
  open: async () => ({ size: 512, read: async () => undefined }),
}

async function setUp() {
  const fakes = new FakeDrivers()
  const graph = fakes.graph([plain, sieve, mute, quoting])
  await graph.addNode({ driver: 'disk', nodeName: 'a' })
  fakes.log.length = 0
  return { fakes, graph, node: graph.find('a') as NonNullable<ReturnType<typeof graph.find>> }
}

describe('reopen', () => {
  it('hands the cache mode on to children that were opened with the node, where nothing was said of theirs', async () => {
    const { graph } = await setUp()
    const noFlushOf = (name: string): boolean | undefined => graph.find(name)?.cache.noFlush
    const own = {
      driver: 'sieve',
      nodeName: 'own',
      cache: { noFlush: false },
      file: { driver: 'disk', nodeName: 'below' },
    }
    await graph.addNode({ driver: 'sieve', nodeName: 'top', file: { driver: 'sieve', nodeName: 'heir', file: own } })
    await graph.addNode({ driver: 'sieve', nodeName: 'other', file: 'a' })
    await graph.reopen('top', { cache: { noFlush: true } })
    await graph.reopen('other', { cache: { noFlush: true } })
    expect(['top', 'heir', 'own', 'below', 'other', 'a'].map(noFlushOf)).toEqual([
      true,
      true,
      false,
      false,
      true,
      false,
    ])
    await graph.close()
  })

  it('changes options of the driver and of every node, tells the image all of them, and tells of it', async () => {
    const { fakes, graph, node } = await setUp()
    const seen: unknown[] = []
    const image = {
      reopen: async (change: unknown) => {
        seen.push(change)
        return { commit() {}, abort() {} }
      },
    }
    fakes.extra.set('n', image as never)
    await graph.addNode({ driver: 'disk', nodeName: 'n', size: 1024 })
    const told: unknown[] = []
    graph.onChange((change) => told.push(change))
    await graph.reopen('n', { mode: 'new', discard: 'unmap', detectZeroes: 'unmap', cache: { direct: true } })
    expect(seen).toEqual([
      {
        options: { size: 1024, mode: 'new' },
        readOnly: false,
        cache: { direct: true, noFlush: false },
        discard: 'unmap',
      },
    ])
    const changed = graph.find('n')
    expect([changed?.options, changed?.discardMode, changed?.detectZeroes, changed?.cache]).toEqual([
      { size: 1024, mode: 'new' },
      'unmap',
      'unmap',
      { direct: true, noFlush: false },
    ])
    expect(told).toEqual([{ kind: 'reopened', node: 'n' }])
    await graph.reopen('n', { cache: { noFlush: true } })
    expect(changed?.cache).toEqual({ direct: true, noFlush: true })
    expect([changed?.discardMode, changed?.detectZeroes]).toEqual(['unmap', 'unmap'])
    expect(node.options).toEqual({})
    await graph.close()
  })

  it('several at once, or several of one node in a change, lose nothing', async () => {
    const { fakes, graph, node } = await setUp()
    await Promise.all([
      graph.reopen('a', { mode: 'new' }),
      graph.reopen('a', { discard: 'unmap' }),
      graph.reopen('a', { cache: { noFlush: true } }),
      graph.reopen('a', { cache: { direct: true } }),
    ])
    expect([node.options.mode, node.discardMode, node.cache]).toEqual(['new', 'unmap', { direct: true, noFlush: true }])
    fakes.log.length = 0
    await graph.change(async (change) => {
      await change.reopen('a', { mode: 'once' })
      await change.reopen('a', { detectZeroes: 'on' })
      await change.reopen('a', { discard: 'off' })
    })
    expect([node.options.mode, node.discardMode, node.detectZeroes]).toEqual(['once', 'ignore', 'on'])
    expect(fakes.log.filter((step) => step === 'a.reopen')).toHaveLength(1)
    await graph.close()
  })

  it('refuses what cannot change, does not exist, or is not valid, and changes nothing', async () => {
    const { fakes, graph } = await setUp()
    const before = stateOf(graph)
    for (const [changes, message] of [
      [{ size: 1 }, "Cannot change the option 'size'"],
      [{ nodeName: 'x' }, "Cannot change the option 'nodeName'"],
      [{ driver: 'x' }, "Cannot change the option 'driver'"],
      [{ nonsense: 1 }, "Invalid parameter 'nonsense'"],
      [{ constructor: 1 }, "Invalid parameter 'constructor'"],
      [{ discard: 'maybe' }, "Parameter 'discard' expects one of"],
      [{ cache: { direct: 'x' } }, 'direct'],
      [
        { detectZeroes: 'unmap' },
        'setting detect-zeroes to unmap is not allowed without setting discard operation to unmap',
      ],
    ] as const) {
      await expect(graph.reopen('a', { mode: 'new', ...changes })).rejects.toThrow(message)
      expect(stateOf(graph)).toEqual(before)
    }
    await expect(graph.reopen('none', {})).rejects.toMatchObject({ code: 'ENODEV' })
    const release = graph.block('a', { reason: 'a job', operations: ['reopen'] })
    await expect(graph.reopen('a', {})).rejects.toMatchObject({ code: 'EBUSY' })
    release()
    expect(fakes.log).not.toContain('a.reopen')
    await graph.reopen('a', { detectZeroes: 'unmap', discard: 'unmap' })
    await expect(graph.reopen('a', { discard: 'ignore' })).rejects.toThrow('detect-zeroes')
    await graph.close()
  })

  it('takes options that cannot change where they stay what they were said to be', async () => {
    const { graph } = await setUp()
    await graph.addNode({ driver: 'plain', nodeName: 'p', kind: 'one', file: 'a' })
    await graph.reopen('p', {
      driver: 'plain',
      nodeName: 'p',
      forceShare: false,
      kind: 'one',
      file: 'a',
      mode: undefined,
    })
    await graph.reopen('p', { file: graph.find('a') })
    await expect(graph.reopen('p', { kind: 'two' })).rejects.toThrow("Cannot change the option 'kind'")
    await expect(graph.reopen('p', { file: 'b' })).rejects.toThrow("Invalid parameter 'file'")
    await expect(graph.reopen('p', { forceShare: true })).rejects.toThrow("Cannot change the option 'forceShare'")
    // A default is not what somebody said.
    await graph.addNode({ driver: 'plain', nodeName: 'q' })
    await expect(graph.reopen('q', { kind: '' })).rejects.toThrow("Cannot change the option 'kind'")
    const tree = { driver: 'quoting', nodeName: 't', list: [{ a: 1 }] }
    await graph.addUnchecked(tree)
    await graph.reopen('t', { list: [{ a: 1 }] })
    await expect(graph.reopen('t', { list: [{ a: 2 }] })).rejects.toThrow("Cannot change the option 'list'")
    await graph.close()
  })

  it('with auto-read-only stays read-only where writing is not possible', async () => {
    const { fakes, graph } = await setUp()
    await graph.addNode({ driver: 'mute', nodeName: 'q' })
    await graph.reopen('q', { readOnly: false, autoReadOnly: true })
    expect(graph.find('q')?.readOnly).toBe(true)
    const code = { now: 'EACCES' as ErrorCode }
    const image = {
      reopen: async ({ readOnly }: ReopenChange) => {
        if (!readOnly) throw new BlockError(code.now, 'no')
        return { commit() {}, abort() {} }
      },
    }
    fakes.extra.set('n', image as never)
    await graph.addNode({ driver: 'disk', nodeName: 'n', readOnly: true })
    await graph.reopen('n', { readOnly: false, autoReadOnly: true })
    expect(graph.find('n')?.readOnly).toBe(true)
    await expect(graph.reopen('n', { readOnly: false })).rejects.toThrow('no')
    code.now = 'EIO'
    await expect(graph.reopen('n', { readOnly: false, autoReadOnly: true })).rejects.toThrow('no')
    await graph.close()
  })

  it('to read-only flushes first, and is refused while somebody writes', async () => {
    const { fakes, graph, node } = await setUp()
    const writer = await graph.attach('a')
    await expect(graph.reopen('a', { readOnly: true })).rejects.toMatchObject({
      code: 'EPERM',
      message: 'Block node is read-only',
    })
    expect([node.readOnly, node.simpleWrite]).toEqual([false, true])
    await writer.write(0, new Uint8Array(1))
    await writer.close()
    fakes.fail('a.flush')
    await expect(graph.reopen('a', { readOnly: true })).rejects.toThrow('a.flush fails')
    expect(node.readOnly).toBe(false)
    fakes.log.length = 0
    await graph.reopen('a', { readOnly: true })
    expect([node.readOnly, node.simpleWrite]).toEqual([true, false])
    expect(fakes.log.filter((step) => /flush|reopen/.test(step))).toEqual(['a.flush', 'a.reopen', 'a.reopen.commit'])
    fakes.log.length = 0
    await graph.reopen('a', { readOnly: true })
    expect(fakes.log).not.toContain('a.flush')
    await expect(graph.attach('a', { permissions: Permission.Write })).rejects.toMatchObject({ code: 'EPERM' })
    await graph.reopen('a', { readOnly: false })
    await (await graph.attach('a')).write(0, new Uint8Array(1))
    await graph.close()
  })

  it('of a format changes what it needs of its storage', async () => {
    const { graph } = await setUp()
    const node = await graph.addNode({ driver: 'overlay', nodeName: 'o', file: 'a' })
    const bits = () => node.children.get('file')?.permissions
    expect(bits()).toBe(Permission.ConsistentRead | Permission.Write | Permission.Resize)
    await graph.reopen('o', { readOnly: true })
    expect(bits()).toBe(Permission.ConsistentRead)
    await graph.change(async (change) => {
      await change.reopen('a', { readOnly: true })
    })
    await expect(graph.reopen('o', { readOnly: false })).rejects.toMatchObject({ code: 'EPERM' })
    expect([node.readOnly, bits()]).toEqual([true, Permission.ConsistentRead])
    await graph.change(async (change) => {
      await change.reopen('o', { readOnly: false })
      await change.reopen('a', { readOnly: false })
    })
    expect(bits()).toBe(Permission.ConsistentRead | Permission.Write | Permission.Resize)
    await graph.close()
  })

  it('needs the driver for its own options, the mode and direct I/O, and not for the others', async () => {
    const { graph } = await setUp()
    await graph.addNode({ driver: 'plain', nodeName: 'p' })
    const message = "driver 'plain' does not support reopening with these options"
    for (const changes of [{ mode: 'x' }, { readOnly: true }, { cache: { direct: true } }]) {
      await expect(graph.reopen('p', changes)).rejects.toMatchObject({ code: 'ENOTSUP', message, node: 'p' })
    }
    await graph.reopen('p', { detectZeroes: 'on', discard: 'unmap', cache: { noFlush: true }, readOnly: false })
    expect(graph.find('p')?.detectZeroes).toBe('on')
    expect(graph.find('p')?.simpleWrite).toBe(false)
    await graph.addNode({ driver: 'sieve', nodeName: 's', file: 'a' })
    await graph.reopen('s', { mode: 'x', readOnly: true })
    expect([graph.find('s')?.options, graph.find('s')?.readOnly]).toEqual([{ mode: 'x' }, true])
    await graph.close()
  })

  it('does not make a driver write that cannot', async () => {
    const { graph } = await setUp()
    const node = await graph.addNode({ driver: 'mute', nodeName: 'q' })
    expect(node.readOnly).toBe(true)
    await expect(graph.reopen('q', { readOnly: false })).rejects.toMatchObject({
      code: 'EROFS',
      message: "driver 'mute' cannot write",
    })
    await graph.close()
  })

  it('takes over new limits and a new size, and users hear of it even when a listener fails', async () => {
    const { fakes, graph } = await setUp()
    let size = 4096
    let alignment = 1
    fakes.extra.set('n', {
      get limits() {
        return { alignment }
      },
      reopen: async () => ({
        commit() {
          size = 8192
          alignment = 512
        },
        abort() {},
      }),
    })
    const original = fakes.disk.open
    const growing: DriverDescriptor = {
      ...fakes.disk,
      name: 'growing',
      open: async (context) => {
        const image = await original(context)
        Object.defineProperty(image, 'size', { get: () => size })
        Object.defineProperty(image, 'limits', { get: () => ({ alignment }) })
        return image
      },
    }
    graph.registry.of(growing)
    const disk = await graph.addUnchecked({ driver: growing, nodeName: 'n' } as never)
    const told: number[] = []
    disk.node.resizeListeners.add(() => {
      throw new Error('listener')
    })
    disk.node.resizeListeners.add((next) => told.push(next))
    disk.onResize((next) => told.push(next))
    await graph.reopen('n', { mode: 'x' })
    expect(told).toEqual([8192, 8192])
    expect([disk.node.limits.alignment, disk.node.simpleWrite, disk.node.options.mode]).toEqual([512, false, 'x'])
    expect(fakes.warnings.join()).toContain('listener')
    await graph.close()
  })
})
