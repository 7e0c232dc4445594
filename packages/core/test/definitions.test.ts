import { describe, expect, it } from 'vitest'
import { type OpenContext, type OpenImage, Passthrough } from '../src/driver.ts'
import { type BlockEvent, type DriverDescriptor, Permission, systemClock, systemRandom } from '../src/index.ts'
import { raw } from './drivers.ts'
import { FakeDrivers } from './fake-drivers.ts'

/** A graph with a format, `fmt`, and a protocol, `local`, that do when opened what a test says. */
function setUp(work: (context: OpenContext) => Promise<void> | void = () => undefined, settings: object = {}) {
  const fakes = new FakeDrivers()
  const contexts: OpenContext[] = []
  const fmt: DriverDescriptor = {
    name: 'fmt',
    kind: 'format',
    description: 'does what it is told',
    options: {
      file: { type: 'child', role: 'storage', description: 'storage' },
      backing: { type: 'child', role: 'cow', description: 'backing file' },
      extents: { type: 'children', role: 'data', description: 'more' },
      mark: { type: 'integer', default: 5, description: 'a number' },
    },
    open: async (context) => {
      contexts.push(context)
      await work(context)
      const file = context.children.get('file')
      return file === undefined ? { size: 512, read: async () => undefined } : new Passthrough(file)
    },
  }
  const local: DriverDescriptor = {
    name: 'file',
    kind: 'protocol',
    description: 'files',
    options: { filename: { type: 'string', required: true, description: 'path' } },
    formatFilename: ({ filename }) => String(filename),
    open: async (context): Promise<OpenImage> => {
      contexts.push(context)
      await fakes.step(`${context.options.filename}.open`)
      return { size: 512, read: async (_offset, buf) => void buf.fill(0), write: async () => undefined }
    },
  }
  const graph = fakes.graph([fmt, local, raw], settings)
  return { fakes, graph, contexts }
}

const file = (nodeName: string, more: object = {}) => ({ driver: 'disk', nodeName, ...more })

describe('a definition', () => {
  it('is options by name, with a driver, and every option must be one of its', async () => {
    const { graph } = setUp()
    for (const [definition, message] of [
      [[], 'options are an object, not'],
      [{ nodeName: 'x' }, "A value is required for option 'driver'"],
      [{ driver: 'disk', nodeName: '1a' }, "Invalid node-name: '1a'"],
      [{ driver: 'disk', nodeName: '#block001' }, "Invalid node-name: '#block001'"],
      [{ driver: 'disk', nodeName: 'a b' }, "Invalid node-name: 'a b'"],
      [{ driver: 'disk', nodeName: 'a\n' }, "Invalid node-name: 'a\n'"],
      [{ driver: 'disk', nodeName: 'a'.repeat(32) }, 'Node name too long'],
      [{ driver: 'fmt', bogus: 1 }, "Block format 'fmt' does not support the option 'bogus'"],
      [{ driver: 'disk', bogus: 1 }, "Block protocol 'disk' doesn't support the option 'bogus'"],
      [{ driver: 'filter' }, 'A block device must be specified for "file"'],
      [{ driver: 'fmt', bogusName: 1 }, "Block format 'fmt' does not support the option 'bogusName'"],
      [{ driver: 'fmt', file: { driver: 'fmt', bogus: 1 } }, "Block format 'fmt' does not support the option 'bogus'"],
      [{ driver: 'fmt', file: { driver: 'fmt', mark: 'x' } }, "Parameter 'file.mark' expects a number"],
      [{ driver: 'fmt', extents: [{ driver: 'fmt', mark: 'x' }] }, "Parameter 'extents.0.mark' expects a number"],
      [{ driver: 'fmt', file: { driver: 'file' } }, "A value is required for option 'file.filename'"],
      [{ file: { driver: 'fmt', file: { driver: 'file' } } }, "A value is required for option 'file.file.filename'"],
      [{ driver: 'fmt', file: 5 }, "Parameter 'file' expects a node name or a definition of a node"],
      [{ driver: 'disk', detectZeroes: 'unmap' }, 'setting detect-zeroes to unmap is not allowed'],
    ] as const) {
      const opening = graph.addUnchecked(definition as never)
      await expect(opening, message).rejects.toMatchObject({
        code: 'EINVAL',
        message: expect.stringContaining(message),
      })
    }
    await expect(graph.addUnchecked({ driver: 'fmt', file: 'nobody' })).rejects.toMatchObject({ code: 'ENODEV' })
    expect([...graph.nodes]).toEqual([])
  })

  it('may have a file name instead of a driver, also one that stands for another, but not for ever', async () => {
    const { graph } = setUp()
    const disk = await graph.addUnchecked({ filename: 'disk:a' })
    expect([disk.node.driver.name, disk.node.name]).toEqual(['disk', 'a'])
    await disk.close()
    const nest = (levels: number): string =>
      levels === 0 ? 'disk:a' : `json:${JSON.stringify({ filename: nest(levels - 1) })}`
    await (await graph.addUnchecked({ filename: nest(3) })).close()
    await (await graph.addUnchecked({ filename: nest(7) })).close()
    await expect(graph.addUnchecked({ filename: nest(8) })).rejects.toThrow(
      'file names inside file names are nested too deeply',
    )
  })

  it('may name a file by a path, a protocol, or the protocol of files', async () => {
    const { graph, contexts } = setUp()
    for (const name of ['/x/a', 'file:/x/a']) await (await graph.open(name, { format: 'raw' })).close()
    expect(contexts.map(({ options }) => options.filename)).toEqual(['/x/a', '/x/a'])
    await expect(graph.open('ftp:x')).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining("Unknown protocol 'ftp'"),
    })
    await expect(graph.open(5 as never)).rejects.toMatchObject({ code: 'EINVAL', message: 'a file name is a text' })
  })

  it('may be a json: name, whose driver and options others may stand before', async () => {
    const { graph } = setUp()
    const name = 'json:{"driver": "disk", "node-name": "a", "mode": "x"}'
    const plain = await graph.open(name)
    expect([plain.node.driver.name, plain.node.options.mode]).toEqual(['disk', 'x'])
    await plain.close()
    const other = await graph.open(name, { mode: 'y' })
    expect(other.node.options.mode).toBe('y')
    await other.close()
    await expect(graph.open(name, { format: 'fmt' })).rejects.toThrow("Block format 'fmt' does not support the option")
  })

  it('of a protocol given as the format takes the options of the name and those beside it', async () => {
    const { graph } = setUp()
    const disk = await graph.open('disk:a', { format: 'disk', mode: 'z' })
    expect([disk.node.driver.name, disk.node.options.disk, disk.node.options.mode]).toEqual(['disk', 'a', 'z'])
    await disk.close()
  })

  it('has the driver that is among the options beside the name, whatever it looks like', async () => {
    const { graph } = setUp()
    const found = await graph.open('/x/a')
    const told = await graph.open('/x/a', { driver: 'raw' })
    expect([found.node.probeGuard !== undefined, told.node.driver.name, told.node.probeGuard]).toEqual([
      true,
      'raw',
      undefined,
    ])
    await told.close()
    await found.close()
    await expect(graph.open('/x/a', { driver: 'nope' })).rejects.toThrow("Unknown driver 'nope'")
  })

  it('without a driver is a file whose format is found out, and guarded when that is taken for raw', async () => {
    const { graph } = setUp()
    const guessed = await graph.addUnchecked({ nodeName: 'n', file: file('a') })
    expect([guessed.node.driver.name, guessed.node.name]).toEqual(['raw', 'n'])
    expect(guessed.node.probeGuard).toBeDefined()
    await guessed.close()
    const given = await graph.addUnchecked({ driver: 'raw', file: file('a') })
    expect(given.node.probeGuard).toBeUndefined()
    await given.close()
  })

  it('of a chain is no deeper than is allowed, each backing file a step', async () => {
    const { graph } = setUp(undefined, { maxDepth: 2 })
    const chain = (images: number): object => ({
      driver: 'fmt',
      file: { driver: 'disk' },
      ...(images === 0 ? {} : { backing: chain(images - 1) }),
    })
    await (await graph.addUnchecked({ ...chain(2) })).close()
    await expect(graph.addUnchecked({ ...chain(3) })).rejects.toMatchObject({ code: 'ELOOP' })
    expect([...graph.nodes]).toEqual([])
  })

  it('that fails names the innermost node that failed', async () => {
    const { graph, fakes } = setUp(() => {
      throw new Error('no')
    })
    const definition = { driver: 'fmt', nodeName: 'n', file: file('a') }
    await expect(graph.addUnchecked(definition)).rejects.toMatchObject({ node: 'n' })
    fakes.fail('a.open', new Error('no'))
    await expect(graph.addUnchecked(definition)).rejects.toMatchObject({ node: 'a' })
  })

  it('gets a name of its own where it has none, and keeps the one it has', async () => {
    const { graph } = setUp()
    const names = []
    for (const definition of [{ driver: 'disk' }, { driver: 'disk' }, file('mine')]) {
      names.push((await graph.addNode(definition)).name)
    }
    expect(names).toEqual(['#block001', '#block002', 'mine'])
    await graph.close()
  })
})

describe('what an image is opened with', () => {
  it('is its options with defaults, its children, and all that the graph has for it', async () => {
    const events: BlockEvent[] = []
    const { fakes, graph, contexts } = setUp(undefined, { secrets: { key: 'k' } })
    graph.objects.add('throttle-group', 't', 7)
    graph.onEvent((event) => events.push(event))
    const { signal } = new AbortController()
    const disk = await graph.addUnchecked(
      { driver: 'fmt', nodeName: 'n', file: file('a'), extents: [file('e')] },
      { signal },
    )
    const context = contexts[0] as OpenContext
    expect({ ...context.options }).toEqual({ mark: 5 })
    expect(context).toMatchObject({ nodeName: 'n', readOnly: false, autoReadOnly: true, contain: undefined })
    expect(context).toMatchObject({ inspect: false, check: false, discard: 'ignore' })
    expect([context.clock, context.random]).toEqual([systemClock, systemRandom])
    expect([context.children.get('file')?.nodeName, context.children.list('extents').length]).toEqual(['a', 1])
    expect([context.secret('key')[0], context.object('throttle-group', 't')]).toEqual([107, 7])
    context.emit('GONE', { now: true })
    expect(events).toEqual([{ event: 'GONE', nodeName: 'n', data: { now: true } }])
    context.warn('mind')
    expect(fakes.warnings).toEqual(['mind'])
    expect(await context.inBackground(async () => disk.node.activity.count)).toBe(1)
    await graph.close()
  })

  it('says that it is only looked at, or checked, and the latter of the top alone', async () => {
    for (const key of ['inspect', 'check'] as const) {
      const { graph, contexts } = setUp()
      const inner = { driver: 'fmt', file: file('a') }
      await graph.addUnchecked({ driver: 'fmt', file: inner }, { [key]: true })
      expect(contexts.map((context) => context[key])).toEqual(key === 'inspect' ? [true, true] : [false, true])
      await graph.close()
    }
  })
})

describe('a read-only node', () => {
  it('has read-only storage, and a backing file is read-only in any case', async () => {
    const { graph } = setUp()
    const definition = { driver: 'fmt', file: file('a'), backing: file('b') }
    await graph.addUnchecked({ ...definition, readOnly: true })
    expect(['a', 'b'].map((name) => graph.find(name)?.readOnly)).toEqual([true, true])
    await graph.close()
    await graph.addUnchecked(definition)
    expect(['a', 'b'].map((name) => graph.find(name)?.readOnly)).toEqual([false, true])
    await graph.close()
  })

  it('is one whose storage is, where that is allowed, and not one whose backing file is', async () => {
    const { graph } = setUp()
    for (const [file1, backing, expected] of [
      [true, false, true],
      [false, true, false],
    ] as const) {
      const disk = await graph.addUnchecked({
        driver: 'fmt',
        file: file('a', { readOnly: file1 }),
        backing: file('b', { readOnly: backing }),
      })
      expect(disk.readOnly).toBe(expected)
      await graph.close()
    }
  })

  it('is one that has to be, or it is not opened at all', async () => {
    const { graph } = setUp(({ becomeReadOnly }) => becomeReadOnly('worm'))
    const loose = await graph.addUnchecked({ driver: 'fmt', file: file('a') })
    expect(loose.readOnly).toBe(true)
    await loose.close()
    const strict = { driver: 'fmt', nodeName: 'n', file: file('a'), readOnly: false }
    await expect(graph.addUnchecked(strict)).rejects.toMatchObject({
      code: 'EROFS',
      node: 'n',
      message: expect.stringContaining('worm'),
    })
    await (await graph.addUnchecked({ ...strict, readOnly: true })).close()
    const other = setUp()
    const cannot = { driver: 'fmt', readOnly: false }
    await expect(other.graph.addUnchecked(cannot)).rejects.toThrow("driver 'fmt' cannot write")
    const weak = await other.graph.addUnchecked({ driver: 'fmt' })
    expect([weak.readOnly, weak.edge.permissions]).toEqual([true, Permission.ConsistentRead])
    await other.graph.close()
  })
})

describe('a reference inside an image', () => {
  const refer = (name: string, filename: string, format?: string) => async (context: OpenContext) => {
    if (context.children.get('file') === undefined) return
    await context.reference(name, { filename, ...(format === undefined ? {} : { format }) })
  }
  const at = (filename: string) => ({ driver: 'file', filename })

  it('opens a neighbour, contained in the directory of the image, read-only as a backing file is', async () => {
    for (const [top, directory, below] of [
      ['/x/top', '/x/', '/x/base'],
      ['top', '.', 'base'],
    ] as const) {
      const { graph, contexts } = setUp(refer('backing', 'base', 'raw'))
      const disk = await graph.addUnchecked({ driver: 'fmt', file: at(top) })
      const [, , base] = contexts
      expect(base).toMatchObject({ contain: directory, readOnly: true, autoReadOnly: true, check: false })
      expect(base?.options.filename).toBe(below)
      expect(disk.node.backing?.node.driver.name).toBe('raw')
      await graph.close()
    }
  })

  it('by another role is a file as the image is, by its literal name', async () => {
    const { graph, contexts } = setUp(refer('extents.0', 'b', 'raw'), { references: 'allow' })
    const disk = await graph.addUnchecked({ driver: 'fmt', file: at('/x/top') })
    expect(contexts[2]).toMatchObject({ contain: undefined, readOnly: false })
    expect(contexts[2]?.options.filename).toBe('/x/b')
    expect(disk.node.children.get('extents.0')).toMatchObject({ role: 'data' })
    await graph.close()
    await graph.addUnchecked({ driver: 'fmt', readOnly: true, file: at('/x/top') })
    expect(contexts.at(-1)).toMatchObject({ readOnly: true })
    await graph.close()
  })

  it('is not followed where the options say what stands there, or that nothing does, nor when only looked at', async () => {
    const outcomes: unknown[] = []
    const { graph } = setUp(async ({ reference, children }) => {
      if (children.get('file') === undefined) return
      outcomes.push((await reference('backing', { filename: '/etc/passwd', format: 'raw' }))?.nodeName)
    })
    await graph.addUnchecked({ driver: 'fmt', file: file('a'), backing: null })
    await graph.addUnchecked({ driver: 'fmt', file: file('b'), backing: file('c') })
    await graph.addUnchecked({ driver: 'fmt', file: file('d') }, { inspect: true })
    await graph.addUnchecked({ driver: 'fmt', file: file('e') }, { withoutBacking: true })
    expect(outcomes).toEqual([undefined, 'c', undefined, undefined])
    await graph.close()
  })

  it('that is refused or fails says which file it was, and why', async () => {
    for (const [name, what] of [
      ['backing', 'backing file'],
      ['extents.0', "'extents.0' file"],
    ] as const) {
      const outside = setUp(refer(name, '/b', 'raw'))
      await expect(outside.graph.addUnchecked({ driver: 'fmt', file: at('/x/top') })).rejects.toMatchObject({
        code: 'EACCES',
        message: expect.stringContaining(`refusing to open the ${what} '/b': it is an absolute path`),
        hint: `pass references: 'allow' to new Graph(…), or give '${name}' as an option of the node`,
      })
      const { graph, fakes } = setUp(refer(name, 'b', 'raw'))
      fakes.fail('/x/b.open')
      await expect(graph.addUnchecked({ driver: 'fmt', file: at('/x/top') })).rejects.toMatchObject({
        code: 'EIO',
        message: expect.stringContaining(`Could not open ${what}: /x/b.open fails`),
      })
      expect([...graph.nodes]).toEqual([])
    }
  })

  it('is followed once: who asks again gets what is there', async () => {
    const { graph, contexts } = setUp(async ({ reference, children }) => {
      if (children.get('file') === undefined) return
      const first = await reference('backing', { filename: 'b', format: 'raw' })
      expect(first).toBe(children.get('backing'))
      expect(await reference('backing', { filename: 'c', format: 'raw' })).toBe(first)
    })
    await graph.addUnchecked({ driver: 'fmt', file: at('/x/top') })
    expect(contexts).toHaveLength(3)
    await graph.close()
  })
})
