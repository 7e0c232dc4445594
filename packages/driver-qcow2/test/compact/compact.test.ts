/** Making images compact: what they hold stays, the file ends where what it holds does, and no crash harms either. */
import {
  CrashWalk,
  findTool,
  type MemoryFiles,
  type PagedFile,
  Random,
  Recording,
  randomSeed,
  runTool,
  storeFile,
  TempFolder,
} from '@diskgraph/driver-testkit'
import { afterAll, describe, expect, it } from 'vitest'
import { contentOf, copyOf, graphOver, makeImage, storage, usedClusters, type Wanted } from './made.ts'

const seed = Number(process.env.SEED ?? randomSeed())
const folder = await TempFolder.make()
const tool = findTool('qemu-img')
afterAll(() => folder.remove())

const all = { snapshots: true, bitmaps: true, compressed: true }
const light = { cipherAlg: 'aes-128', cipherMode: 'cbc', iterTime: 0 } as const
const key = { encrypt: { keySecret: 'key' } }
const encrypt = (format: 'aes' | 'luks') => ({ format, keySecret: 'key', ...(format === 'aes' ? {} : light) })

const variants: readonly (readonly [string, Wanted])[] = [
  ['64 KiB clusters', { create: {}, size: 2 ** 22, cluster: 65536, ...all }],
  ['4 KiB clusters', { create: {}, size: 2 ** 20, cluster: 4096, ...all }],
  ['512-byte clusters', { create: {}, size: 2 ** 18, cluster: 512, ...all }],
  ['512-byte clusters without snapshots', { create: {}, size: 2 ** 19, cluster: 512, compressed: true }],
  ['64-bit refcounts', { create: { refcountBits: 64 }, size: 2 ** 20, cluster: 1024, ...all }],
  ['1-bit refcounts', { create: { refcountBits: 1 }, size: 2 ** 20, cluster: 1024, bitmaps: true }],
  ['8-bit refcounts', { create: { refcountBits: 8 }, size: 2 ** 20, cluster: 4096, ...all }],
  ['version 2', { create: { compat: 'v2' }, size: 2 ** 20, cluster: 4096, snapshots: true, compressed: true }],
  ['lazy refcounts', { create: { lazyRefcounts: true }, size: 2 ** 20, cluster: 4096, ...all }],
  ['subclusters', { create: { extendedL2: true }, size: 2 ** 21, cluster: 16384, ...all }],
  ['AES', { create: { encrypt: encrypt('aes') }, size: 2 ** 20, cluster: 4096, options: key, snapshots: true }],
  ['LUKS', { create: { encrypt: encrypt('luks') }, size: 2 ** 20, cluster: 4096, options: key, snapshots: true }],
  [
    'an external data file',
    {
      create: { dataFile: { driver: 'testkit-file', name: 'data' } },
      size: 2 ** 20,
      cluster: 512,
      options: { dataFile: { driver: 'testkit-file', name: 'data' } },
    },
  ],
]

/** What a check finds, and where what is in use ends. */
async function checked(memory: MemoryFiles, options: Wanted['options']) {
  await using graph = graphOver(memory)
  const disk = await graph.addUnchecked({ driver: 'qcow2', readOnly: true, file: storage, ...options })
  const { corruptions, checkErrors, leaks, imageEndOffset } = await disk.check({})
  return { faults: corruptions + checkErrors, leaks, end: imageEndOffset as number }
}

/** What qemu-img finds wrong; with `leaks`, apart from leaks. */
async function judged(image: PagedFile, leaks = false): Promise<string> {
  if (tool === undefined) return ''
  const path = folder.file('image')
  storeFile(path, image)
  const { status, stdout, stderr } = await runTool(tool, ['check', '-f', 'qcow2', path])
  return status === 0 || (leaks && status === 3) ? '' : `${status}: ${stdout}${stderr}`
}

async function compact(memory: MemoryFiles, options: Wanted['options'], signal?: AbortSignal) {
  await using graph = graphOver(memory)
  const disk = await graph.addUnchecked({ driver: 'qcow2', file: storage, ...options })
  return disk.compact({ signal })
}

describe(`compact images (seed ${seed})`, () => {
  it.each(variants)('one with %s holds what it held, in a shorter file without gaps', async (_, wanted) => {
    for (let i = 0; i < 3; i++) {
      const files = await makeImage(wanted, new Random(seed + i))
      const before = await contentOf(copyOf(files), wanted.options)
      const memory = copyOf(files)
      const size = memory.file('image').size
      const { freed } = await compact(memory, wanted.options)
      const file = memory.file('image')
      expect(size - file.size).toBe(freed)
      const after = await contentOf(copyOf(memory.byName), wanted.options)
      expect([...after.keys()]).toEqual([...before.keys()])
      for (const [name, bytes] of after) expect([name, bytes === before.get(name)]).toEqual([name, true])
      const { faults, leaks, end } = await checked(copyOf(memory.byName), wanted.options)
      expect({ faults, leaks }).toEqual({ faults: 0, leaks: 0 })
      expect(end - file.size).toBeLessThan(wanted.cluster)
      expect(usedClusters(file)).toBe(Math.ceil(file.size / wanted.cluster))
      if (wanted.options === undefined) expect(await judged(file)).toBe('')
      const again = await compact(memory, wanted.options)
      expect(again).toEqual({ moved: 0, freed: 0 })
    }
  })
  it.each(variants)('one with %s survives every crash, and an end before its time', async (_, wanted) => {
    const random = new Random(seed)
    const faults: string[] = []
    for (let i = 0; i < 2; i++) {
      const files = await makeImage(wanted, random)
      const before = await contentOf(copyOf(files), wanted.options)
      const record = new Recording()
      const memory = copyOf(files)
      const controller = new AbortController()
      await using graph = graphOver(memory, record.driver)
      const file = { driver: 'testkit-recorder', as: 'image', file: storage }
      const disk = await graph.addUnchecked({ driver: 'qcow2', ...wanted.options, file })
      const onProgress = (done: number): void => {
        if (done > 0 && i === 1) controller.abort()
      }
      const ended = await disk.compact({ signal: controller.signal, onProgress }).catch((error: unknown) => error)
      if (controller.signal.aborted) expect(ended).toMatchObject({ code: 'ECANCELED' })
      await disk.close()
      const walk = new CrashWalk(files, record.calls)
      const times = Array.from({ length: 40 }, () => random.between(0, record.now)).sort((a, b) => a - b)
      for (const [at, time] of [...times, record.now].entries()) {
        walk.advance(time)
        const { files: state } = walk.state(time, random)
        const fault = await faultOf(state, before, wanted.options, at % 5 === 0).catch((error) => String(error))
        if (fault !== undefined) faults.push(`time ${time} of ${record.now}: ${fault}`)
      }
    }
    expect(faults.slice(0, 5)).toEqual([])
  })
})

/** What is wrong with a state that a crash left. */
async function faultOf(
  state: ReadonlyMap<string, PagedFile>,
  before: ReadonlyMap<string, string>,
  options: Wanted['options'],
  asks: boolean,
): Promise<string | undefined> {
  const { faults } = await checked(copyOf(state), options)
  if (faults > 0) return `a check finds ${faults} faults`
  for (const [name, bytes] of await contentOf(copyOf(state), options)) {
    if (bytes !== before.get(name)) return `${name} has changed`
  }
  const text = asks && options === undefined ? await judged(state.get('image') as PagedFile, true) : ''
  return text === '' ? undefined : text
}
