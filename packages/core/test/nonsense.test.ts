/** What programs without types, or with a slip of the fingers, ask for. */
import { describe, expect, test } from 'vitest'
import { Passthrough } from '../src/driver.ts'
import { type DriverDescriptor, Graph, type Root } from '../src/index.ts'
import { pass, ram, raw, Storage } from './drivers.ts'

const invalid = { code: 'EINVAL' }
const anything = (value: unknown): never => value as never

function setUp(extra: Parameters<typeof ram>[2] = {}, createOptions?: DriverDescriptor['createOptions']) {
  const storage = new Storage()
  storage.disks.set('a', new Uint8Array(4096))
  const driver = { ...ram(storage, {}, extra), ...(createOptions === undefined ? {} : { createOptions }) }
  const warnings: string[] = []
  const graph = new Graph({ drivers: [driver, pass, raw], onWarning: (text) => warnings.push(text) })
  return { storage, graph, warnings, open: () => graph.addUnchecked({ driver: 'ram', disk: 'a', nodeName: 'n' }) }
}

describe('a disk refuses', () => {
  test('a check that repairs something unknown, and repairs nothing when nothing is said', async () => {
    const asked: unknown[] = []
    const { open } = setUp({
      async check(options) {
        asked.push(options.repair)
        return { checkErrors: 0, corruptions: 0, leaks: 0, corruptionsFixed: 0, leaksFixed: 0 }
      },
    })
    const disk = await open()
    for (const repair of ['leak', 'ALL', true, null]) {
      await expect(disk.check({ repair: anything(repair) }), String(repair)).rejects.toMatchObject(invalid)
    }
    await disk.check()
    await disk.check({})
    await disk.check({ repair: 'leaks' })
    expect(asked).toEqual(['none', 'none', 'leaks'])
    await disk.close()
  })

  test('to amend an option that does not exist, or may not be amended', async () => {
    const asked: unknown[] = []
    const { open } = setUp(
      {
        async amend({ options }) {
          asked.push({ ...options })
        },
      },
      { lazy: { type: 'boolean', amend: true, description: 'lazy' } },
    )
    const disk = await open()
    await expect(disk.amend({ options: { lasy: true } })).rejects.toMatchObject({
      ...invalid,
      hint: "did you mean 'lazy'?",
    })
    await disk.amend({ options: { lazy: 'on' } })
    expect(asked).toEqual([{ lazy: true }])
    await disk.close()
  })

  test('a preallocation and a snapshot name that are none', async () => {
    const snapshots = {
      list: () => [],
      create: () => expect.unreachable(),
      apply: async () => {},
      delete: async () => {},
      load: async () => {},
    }
    const { open } = setUp({ snapshots })
    const disk = await open()
    await expect(disk.truncate(8192, { preallocation: anything('ful') })).rejects.toMatchObject(invalid)
    for (const snapshot of [{}, undefined, { name: { a: 1 } }]) {
      await expect(disk.snapshots.create(anything(snapshot))).rejects.toMatchObject(invalid)
    }
    await disk.close()
  })
})

describe('a disk says', () => {
  test('what it was given instead of a buffer', async () => {
    const { open } = setUp()
    const disk = await open()
    const kinds = [
      [512, 'a value of type number'],
      ['x', 'a value of type string'],
      [[1, 2], 'a list'],
      [undefined, 'undefined'],
      [null, 'null'],
      [new ArrayBuffer(8), 'a value of type object'],
    ] as const
    for (const [value, kind] of kinds) {
      const message = `cannot write ${disk.describe()}: the buffer is not a Uint8Array, but ${kind}`
      await expect(disk.write(0, anything(value))).rejects.toMatchObject({ ...invalid, message })
      await expect(disk.read(0, anything(value))).rejects.toMatchObject(invalid)
    }
    await disk.close()
  })

  test('that it is closed, to whatever is asked of it then', async () => {
    const { graph, open } = setUp()
    const disk = await open()
    await disk.close()
    const asked: (() => Promise<unknown>)[] = [
      () => disk.read(0, new Uint8Array(1)),
      () => disk.write(0, new Uint8Array(1)),
      () => disk.flush(),
      () => disk.extents().next(),
      () => disk.truncate(0),
      () => disk.info(),
      () => disk.check(),
      () => disk.amend({ options: {} }),
      async () => disk.snapshots.list(),
    ]
    for (const ask of asked) {
      await expect(ask(), String(ask)).rejects.toMatchObject({ code: 'ENOMEDIUM', message: /it is closed|is closed/ })
    }
    await disk.close()
    await graph.close()
  })

  test('that options to amend are missing', async () => {
    const { open } = setUp()
    const disk = await open()
    for (const request of [undefined, {}, { options: 1 }]) {
      await expect(disk.amend(anything(request))).rejects.toThrow('amend({ options }) takes options by name')
    }
    await disk.close()
  })
})

describe('a graph refuses', () => {
  test('drivers that are no list, and says what to pass', () => {
    for (const settings of [undefined, {}, { drivers: raw }, { drivers: 'raw' }, { drivers: null }]) {
      expect(() => new Graph(anything(settings)), String(settings)).toThrow(
        expect.objectContaining({
          ...invalid,
          message: expect.stringContaining('needs a list of drivers, not '),
          hint: expect.stringContaining('put the descriptors into a list'),
        }),
      )
    }
  })

  test('settings that it does not have', () => {
    expect(() => new Graph(anything({ drivers: [], maxdepth: 3 }))).toThrow(
      expect.objectContaining({
        message: "new Graph has no option 'maxdepth'",
        hint: "did you mean 'maxDepth'?",
      }),
    )
  })

  test('functions that are none, and shows no secret that stands where another thing is due', () => {
    for (const name of ['onWarning', 'random', 'resolveDriver']) {
      expect(() => new Graph(anything({ drivers: [], [name]: 1 }))).toThrow(
        `${name} is a function, not a value of type number`,
      )
    }
    expect(() => new Graph({ drivers: [], clock: anything({}) })).toThrow('clock.now is a function, not undefined')
    expect(() => new Graph({ drivers: [], secrets: anything({ key: ['hunter2'] }) })).toThrow(
      'a secret is a text or bytes, not a list',
    )
  })

  test('a listener and the work of a change that cannot be called', async () => {
    const { graph } = setUp()
    expect(() => graph.onChange(anything('x'))).toThrow('a listener is a function, not a value of type string')
    expect(() => graph.onEvent(anything(undefined))).toThrow(expect.objectContaining(invalid))
    await expect(graph.change(anything(undefined))).rejects.toThrow('the work of a change is a function, not undefined')
    await graph.close()
  })

  test('a format where options are due, and settings and signals that are none', async () => {
    const { graph, open } = setUp()
    await expect(graph.open('ram:a', anything('raw'))).rejects.toMatchObject({
      message: 'options are an object, not a value of type string',
      hint: expect.stringContaining('graph.open(filename, { format })'),
    })
    await expect(graph.open('ram:a', {}, anything('raw'))).rejects.toThrow('settings are an object')
    await expect(graph.addUnchecked({ driver: 'ram', disk: 'a' }, { signal: anything(5) })).rejects.toThrow(
      'settings.signal is an AbortSignal, not a value of type number',
    )
    const { signal } = new AbortController()
    await (await graph.addUnchecked({ driver: 'ram', disk: 'a' }, { signal })).close()
    await (await open()).close()
    await graph.close()
  })

  test('settings that are none', () => {
    expect(() => new Graph(anything({}))).toThrow(expect.objectContaining(invalid))
    expect(() => new Graph({ drivers: [], references: anything('alow') })).toThrow(expect.objectContaining(invalid))
    expect(() => new Graph({ drivers: [], maxDepth: anything('x') })).toThrow(expect.objectContaining(invalid))
    expect(() => new Graph({ drivers: [anything({ raw })] })).toThrow(
      expect.objectContaining({ ...invalid, hint: expect.stringContaining('pass what the package exports') }),
    )
  })

  test('an unknown driver with the name that is near', async () => {
    const { graph } = setUp()
    await expect(graph.addUnchecked({ driver: 'raww' })).rejects.toMatchObject({
      hint: expect.stringContaining("did you mean 'raw'?"),
    })
  })

  test('to insert what is no filter, and changes nothing', async () => {
    const { graph, open } = setUp()
    const disk = await open()
    await expect(graph.insertFilterUnchecked('n', anything(undefined))).rejects.toMatchObject(invalid)
    await expect(graph.insertFilterUnchecked('n', { driver: 'raw', size: 512 })).rejects.toThrow(
      "driver 'raw' is no filter",
    )
    expect(disk.nodeName).toBe('n')
    await graph.close()
  })

  test('a child behind the others of a list that is no list', async () => {
    const { graph, open } = setUp()
    await open()
    await graph.insertFilterUnchecked('n', { driver: 'pass', nodeName: 'f' })
    await graph.addNode({ driver: 'ram', disk: 'a', nodeName: 'other' })
    await expect(graph.addChild('f', 'file', 'other')).rejects.toMatchObject(invalid)
    expect([...(graph.find('f')?.children.keys() ?? [])]).toEqual(['file'])
    await graph.close()
  })

  test('permissions and roots that are none, before anything is changed', async () => {
    const { graph, open } = setUp()
    const disk = await open()
    const change = graph.change(async (one) => {
      await one.reopen('n', { detectZeroes: 'on' })
      one.setPermissions(disk.edge, anything(undefined))
    })
    await expect(change).rejects.toMatchObject(invalid)
    expect(disk.node.detectZeroes).toBe('off')
    await expect(graph.detachRoot(anything('x') as Root)).rejects.toMatchObject(invalid)
    await graph.close()
  })
})

test('a filter finds its own child option', async () => {
  const image: DriverDescriptor = {
    ...pass,
    name: 'shows-image',
    options: { image: { type: 'child', role: 'filtered', required: true, description: 'filtered node' } },
    open: async ({ children }) => new Passthrough(children.require('image')),
  }
  const { graph, open } = setUp()
  const disk = await open()
  await graph.insertFilterUnchecked('n', { driver: image, nodeName: 'f' })
  expect(disk.nodeName).toBe('f')
  expect(graph.find('f')?.children.get('image')?.node.name).toBe('n')
  await graph.close()
})

test('a probed raw disk may not take the head of any format that is known, with a driver or without', async () => {
  const { graph } = setUp()
  const disk = await graph.open('ram:a')
  for (const signature of [
    'KDMV\x01\0\0\0',
    'QED\0',
    'conectix',
    'vhdxfile',
    'LUKS\xba\xbe\0\x01',
    'QFI\xfb\0\0\0\x02',
  ]) {
    const sector = new Uint8Array(512)
    sector.set(Uint8Array.from(signature, (letter) => letter.charCodeAt(0)))
    await expect(disk.write(0, sector), signature).rejects.toMatchObject({ code: 'EPERM' })
  }
  await disk.write(0, new Uint8Array(512).fill(1))
  await graph.close()
})

test('a change that waits long for another one says so', async () => {
  const wakes: (() => void)[] = []
  const clock = {
    now: () => 0,
    wallTime: () => 0,
    turn: async () => {},
    interval: () => () => {},
    timeout: (_: number, wake: () => void) => {
      wakes.push(wake)
      return () => {
        wakes.splice(wakes.indexOf(wake), 1)
      }
    },
  }
  const warnings: string[] = []
  const graph = new Graph({ drivers: [], clock, onWarning: (text) => warnings.push(text) })
  let go: () => void = () => {}
  const first = graph.change(
    () =>
      new Promise<void>((resolve) => {
        go = resolve
      }),
  )
  const second = graph.change(async () => {})
  expect(wakes).toHaveLength(1)
  wakes[0]?.()
  expect(warnings).toEqual([expect.stringContaining('inside of a change use the change')])
  await Promise.resolve()
  go()
  await Promise.all([first, second])
  await graph.change(async () => {})
  expect(wakes).toEqual([])
})
