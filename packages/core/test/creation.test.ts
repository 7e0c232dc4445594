import { describe, expect, it } from 'vitest'
import type { CreateContext, OpenImage } from '../src/driver.ts'
import { BlockError, type DriverDescriptor, Permission, systemClock, systemRandom } from '../src/index.ts'
import { ram, Storage } from './drivers.ts'
import { FakeDrivers, isPending } from './fake-drivers.ts'

/** A format whose creation is what a test says, over files of RAM. */
function setUp(create: (context: CreateContext) => Promise<void>, extra: Partial<OpenImage> = {}) {
  const storage = new Storage()
  const fakes = new FakeDrivers()
  const opened: unknown[] = []
  const made: unknown[] = []
  const disks = ram(storage, {}, extra)
  const file: DriverDescriptor = {
    ...disks,
    parseFilename: (filename) => ({ disk: filename.slice('ram:'.length).replace('./', '') }),
    createOptions: {
      ...disks.createOptions,
      shade: { type: 'string', default: '', description: 'only for making' },
    },
    async create(context) {
      made.push(context.options)
      await fakes.step(`${context.options.disk}.create`)
      await disks.create?.(context)
    },
    async open(context) {
      const { options, readOnly, autoReadOnly, discard, cache } = context
      opened.push({ options, readOnly, autoReadOnly, discard, cache })
      await fakes.step(`${options.disk}.open`)
      return disks.open(context)
    },
    async remove(options) {
      await fakes.step(`${options.disk}.remove`)
      await disks.remove?.(options)
    },
  }
  const format: DriverDescriptor = {
    name: 'fmt',
    kind: 'format',
    description: 'a format that is only made',
    options: {},
    createOptions: {
      file: { type: 'child', role: 'storage', description: 'storage' },
      data: { type: 'child', role: 'storage', description: 'another' },
      mark: { type: 'integer', default: 5, description: 'a number' },
    },
    create,
    open: () => Promise.reject(new BlockError('ENOTSUP', 'only made here')),
  }
  const { name: _, ...rest } = format
  const half: DriverDescriptor = { ...rest, name: 'half', createOptions: undefined }
  const pathFile: DriverDescriptor = { ...file, name: 'file', prefixes: [], formatFilename: ({ disk }) => String(disk) }
  const settings = { secrets: { key: 'abc' } }
  const graph = fakes.graph([file, format, half, pathFile], settings)
  const files = (): string[] => [...storage.disks.keys()].sort()
  return { storage, fakes, graph, opened, made, files, format }
}

const inRam = (disk: string, more: object = {}) => ({ driver: 'ram', disk, ...more })

describe('a new image', () => {
  it('is made with its options, defaults filled in, children apart, and with the graph behind it', async () => {
    const seen: unknown[] = []
    const { signal } = new AbortController()
    const { graph, fakes } = setUp(async (context) => {
      const { options, children, clock, random } = context
      seen.push(options, children.get('file')?.nodeName !== undefined, children.get('data'))
      seen.push(clock === systemClock, random === systemRandom, context.secret('key'))
      seen.push(context.signal?.aborted)
      context.warn('mind this')
    })
    await graph.createUnchecked({ driver: 'fmt', file: inRam('a'), data: null }, { signal })
    expect(seen).toEqual([{ mark: 5 }, true, undefined, true, true, new TextEncoder().encode('abc'), false])
    expect(fakes.warnings).toEqual(['mind this'])
    await graph.createUnchecked({ driver: 'fmt', mark: 6 })
    expect(seen[7]).toEqual({ mark: 6 })
    expect([...graph.nodes]).toEqual([])
    await graph.close()
  })

  it('is described by options, of a driver that makes images', async () => {
    const { graph } = setUp(async () => undefined)
    for (const wrong of [null, 'fmt', 5, undefined]) {
      await expect(graph.createUnchecked(wrong as never), String(wrong)).rejects.toMatchObject({
        code: 'EINVAL',
        message: 'a new image is described by options by name',
      })
    }
    for (const name of ['half', 'filter']) {
      await expect(graph.createUnchecked({ driver: name })).rejects.toMatchObject({
        code: 'ENOTSUP',
        message: `Format driver '${name}' does not support image creation`,
      })
    }
    await expect(graph.createUnchecked({ driver: 'fmt', shade: 1 })).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(graph.createUnchecked({ driver: 'fmt', file: 5 })).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('file'),
    })
  })

  it('is not begun when its signal is aborted', async () => {
    const { graph, files } = setUp(async () => undefined)
    const signal = AbortSignal.abort()
    const work = graph.createUnchecked({ driver: 'fmt', file: inRam('a') }, { signal })
    await expect(work).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(files()).toEqual([])
  })

  it('has a file that is made and opened with what each of the two knows, empty at first', async () => {
    const { graph, made, opened } = setUp(async () => undefined)
    await graph.createUnchecked({ driver: 'fmt', file: inRam('a', { shade: 'red', pace: 1 }) })
    await graph.createUnchecked({ driver: 'fmt', file: inRam('b', { size: 7 }) })
    expect(made).toEqual([
      { disk: 'a', size: 0, shade: 'red' },
      { disk: 'b', size: 7, shade: '' },
    ])
    const cache = { direct: false, noFlush: false }
    const open = { readOnly: false, autoReadOnly: false, discard: 'unmap', cache }
    expect(opened).toEqual([
      { options: { disk: 'a', pace: 1 }, ...open },
      { options: { disk: 'b', pace: 0 }, ...open },
    ])
    await expect(graph.createUnchecked({ driver: 'fmt', file: inRam('c', { nonsense: 1 }) })).rejects.toThrow(
      'nonsense',
    )
  })

  it('is written into a node that is open already, and which is there afterwards', async () => {
    const { graph, fakes } = setUp(async ({ children }) => {
      const file = children.require('file')
      await file.truncate(100)
      await file.write(90, new Uint8Array([3]))
    })
    await graph.addNode({ driver: 'disk', nodeName: 'd' })
    await graph.createUnchecked({ driver: 'fmt', file: 'd' })
    expect([fakes.bytes('d').length, fakes.bytes('d')[90]]).toEqual([100, 3])
    expect(graph.find('d')).toMatchObject({ pins: 0, permissions: 0, explicit: true })
    expect(fakes.log).toContain('d.flush')
    await expect(graph.createUnchecked({ driver: 'fmt', file: 'nobody' })).rejects.toMatchObject({ code: 'ENODEV' })
    await graph.close()
  })

  it('is written into a new node of a driver that makes nothing, which keeps its options', async () => {
    const { graph, fakes } = setUp(async ({ children }) => children.require('file').write(0, new Uint8Array([3])))
    await graph.createUnchecked({ driver: 'fmt', file: { driver: 'disk', disk: 'plain', size: 64 } })
    expect([fakes.bytes('plain').length, fakes.bytes('plain')[0]]).toEqual([64, 3])
    expect([...graph.nodes]).toEqual([])
  })

  it('keeps its storage for itself while it is made', async () => {
    const { graph, fakes } = setUp(async () => fakes.step('making'))
    const user = await graph.addUnchecked({ driver: 'disk', nodeName: 'd' })
    const work = graph.createUnchecked({ driver: 'fmt', file: 'd' })
    await expect(work).rejects.toMatchObject({ code: 'EPERM', message: expect.stringContaining('new fmt image') })
    await graph.addNode({ driver: 'disk', nodeName: 'e' })
    const gate = fakes.hold('making')
    const creation = graph.createUnchecked({ driver: 'fmt', file: 'e' })
    await gate.arrived
    await expect(graph.attach('e')).rejects.toMatchObject({ code: 'EPERM' })
    await (await graph.attach('e', { permissions: Permission.ConsistentRead })).close()
    gate.open()
    await creation
    await user.close()
    await (await graph.attach('e')).close()
    await graph.close()
  })

  it('is work that a drained section of its storage waits for', async () => {
    const { graph, fakes } = setUp(async () => fakes.step('making'))
    await graph.addNode({ driver: 'disk', nodeName: 'd' })
    const gate = fakes.hold('making')
    const creation = graph.createUnchecked({ driver: 'fmt', file: 'd' })
    await gate.arrived
    const section = graph.drained('d', async () => undefined)
    expect(await isPending(section)).toBe(true)
    gate.open()
    await Promise.all([creation, section])
    await graph.close()
  })
})

describe('a creation that fails', () => {
  it('removes what it made, and no more, whichever step it was', async () => {
    for (const step of ['a.create', 'a.open', 'b.create', 'b.open', 'making']) {
      const { graph, fakes, storage, files } = setUp(async () => fakes.step('making'))
      storage.disks.set('mine', new Uint8Array(1))
      // The first opening is a look at what is there.
      fakes.fail(step, undefined, step.endsWith('.open') ? 1 : 0)
      const work = graph.createUnchecked({ driver: 'fmt', file: inRam('a'), data: inRam('b') })
      await expect(work, step).rejects.toThrow(`${step} fails`)
      expect(files(), step).toEqual(['mine'])
      expect([...graph.nodes], step).toEqual([])
      await graph.close()
    }
  })

  it('tells why although closing and removing fail, too, and warns of what stays', async () => {
    const close = () => Promise.reject(new BlockError('EIO', 'no close'))
    const { graph, fakes, files } = setUp(async () => fakes.step('making'), { close })
    for (const step of ['making', 'a.remove']) fakes.fail(step)
    const work = graph.createUnchecked({ driver: 'fmt', file: inRam('a'), data: inRam('b') })
    await expect(work).rejects.toThrow('making fails')
    expect(files()).toEqual(['a'])
    expect(fakes.warnings).toContain('cannot remove the unfinished image: a.remove fails')
    await graph.close()
  })
})

describe('one more file of an image', () => {
  it('lies beside the first one, by path or by protocol', async () => {
    for (const [driver, disk, second] of [
      ['ram', 'x/a', 'x/b'],
      ['file', '/x/a', '/x/b'],
    ] as const) {
      const { graph, files, fakes } = setUp(async ({ createFile, children }) => {
        const file = await createFile('b')
        await file.write(3, new Uint8Array([1]))
        expect(children.get('b')).toBe(file)
      })
      const work = graph.createUnchecked({ driver: 'fmt', file: { driver, disk } })
      if (driver === 'file') await expect(work).rejects.toThrow('filename')
      else await work
      expect(files()).toEqual(driver === 'file' ? [] : [disk, second])
      expect(fakes.warnings).toEqual([])
      await graph.close()
    }
  })

  it('has a name of its own', async () => {
    const { graph, files } = setUp(async ({ createFile }) => {
      await createFile('b')
      await createFile('b')
    })
    await expect(graph.createUnchecked({ driver: 'fmt', file: inRam('x/a') })).rejects.toMatchObject({
      code: 'EEXIST',
      message: "the image has a file 'b' already",
    })
    expect(files()).toEqual([])
  })

  it('is refused where there is no first one', async () => {
    const { graph } = setUp(async ({ createFile }) => void (await createFile('b')))
    for (const wrong of [{}, { data: inRam('a') }]) {
      await expect(graph.createUnchecked({ driver: 'fmt', ...wrong })).rejects.toMatchObject({
        code: 'EINVAL',
        message: "there is no file beside which 'b' could be made",
      })
    }
  })
})
