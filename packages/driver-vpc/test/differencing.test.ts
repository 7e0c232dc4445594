/** Differencing images that are made and written here, judged by a model, by crashes, and by libvhdi. */
import { spawnSync } from 'node:child_process'
import { Graph } from '@diskgraph/core'
import type { DriverDescriptor } from '@diskgraph/core/driver'
import {
  crashTest,
  errorSweep,
  MemoryFiles,
  type PagedFile,
  peer,
  Random,
  randomSeed,
  storeFile,
  TempFolder,
} from '@diskgraph/driver-testkit'
import { vpc } from '@diskgraph/driver-vpc'
import { afterAll, describe, expect, it } from 'vitest'

const mib = 2 ** 20
const size = 12 * mib
const seed = Number(process.env.SEED ?? randomSeed())
const folder = await TempFolder.make()
afterAll(() => folder.remove())

const fileOf = (name: string) => ({ driver: 'testkit-file', name })

function graphOver(files: MemoryFiles): Graph {
  return new Graph({ drivers: [vpc, files.driver], references: 'allow', onWarning: () => undefined })
}

/** What `name` shows, with what is below it. */
async function contentOf(files: MemoryFiles, name: string): Promise<Buffer> {
  await using graph = graphOver(files)
  const disk = await graph.open(`testkit-file:${name}`, { format: 'vpc', readOnly: true })
  const bytes = Buffer.alloc(disk.size)
  await disk.read(0, bytes)
  return bytes
}

/** Writes at random, in the model as well. */
async function scribble(files: MemoryFiles, name: string, model: Buffer, random: Random): Promise<void> {
  await using graph = graphOver(files)
  const disk = await graph.open(`testkit-file:${name}`, { format: 'vpc' })
  for (let i = 0; i < 25; i++) {
    const offset = random.below(size / 512) * 512
    const length = Math.min(size - offset, 512 * (1 + random.below(random.chance(0.2) ? 4000 : 60)))
    const byte = random.chance(0.3) ? 0 : random.between(1, 255)
    if (byte === 0) await disk.writeZeroes(offset, length)
    else await disk.write(offset, new Uint8Array(length).fill(byte))
    model.fill(byte, offset, offset + length)
    if (random.chance(0.1)) await disk.flush()
  }
}

/** A chain of three, and what the top shows. */
async function chain(): Promise<{ readonly files: MemoryFiles; readonly models: readonly Buffer[] }> {
  const random = new Random(seed)
  const files = new MemoryFiles()
  const models: Buffer[] = []
  for (const [i, name] of ['base', 'middle', 'top'].entries()) {
    await using graph = graphOver(files)
    const below = ['base', 'middle'][i - 1]
    const backing = below === undefined ? {} : { backingFile: `testkit-file:${below}`, backingFmt: 'vpc' }
    await graph.createUnchecked({ driver: 'vpc', size, forceSize: true, ...backing, file: fileOf(name) })
    const model = Buffer.from(models.at(-1) ?? Buffer.alloc(size))
    await scribble(files, name, model, random)
    models.push(model)
  }
  return { files, models }
}

const libvhdi = spawnSync('/usr/bin/python3', ['-c', 'import pyvhdi']).status === 0
const judge = peer(libvhdi ? 'python3' : 'python3 with pyvhdi', { describe, it })

/** What libvhdi reads through a chain, the top first. */
function readByLibrary(paths: readonly string[]): Buffer {
  const program = `
import pyvhdi, sys
files = []
for path in sys.argv[1:]:
    f = pyvhdi.file()
    f.open(path)
    files.append(f)
for child, parent in zip(files, files[1:]):
    child.set_parent(parent)
out = sys.stdout.buffer
while True:
    data = files[0].read_buffer(1048576)
    if not data: break
    out.write(data)
`
  const { stdout, stderr, status } = spawnSync('/usr/bin/python3', ['-c', program, ...paths], { maxBuffer: 2 * size })
  expect([status, stderr.toString()]).toEqual([0, ''])
  return stdout
}

describe(`a chain of differencing images (seed ${seed})`, () => {
  it('shows what was written into each of them', async () => {
    const { files, models } = await chain()
    for (const [i, name] of ['base', 'middle', 'top'].entries()) {
      expect((await contentOf(files, name)).equals(models[i] as Buffer)).toBe(true)
    }
  })

  it('is refused when an image below is another one', async () => {
    const { files } = await chain()
    await graphOver(files).createUnchecked({ driver: 'vpc', size, file: fileOf('base') })
    await expect(contentOf(files, 'top')).rejects.toThrow('is not the image that this one was made on')
  })

  judge.it('is read by libvhdi as it is here', async () => {
    const { files, models } = await chain()
    const paths = ['top', 'middle', 'base'].map((name) => {
      storeFile(folder.file(name), files.file(name) as PagedFile)
      return folder.file(name)
    })
    expect(readByLibrary(paths).equals(models[2] as Buffer)).toBe(true)
  })
})

/** Clears bits, or whole bytes, of the bitmaps of blocks: those sectors are of the image below; in the model as well. */
function punch(files: MemoryFiles, model: Buffer, below: Buffer, bytewise: boolean): number {
  const random = new Random(seed)
  const file = files.file('top')
  const read = (at: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length)
    file.read(at, bytes)
    return bytes
  }
  const header = read(512, 1024)
  const table = read(Number(header.readBigUInt64BE(16)), 4 * header.readUInt32BE(28))
  let blocks = 0
  for (let index = 0; index < table.length / 4; index++) {
    const entry = table.readUInt32BE(4 * index)
    if (entry === 0xffffffff) continue
    blocks++
    for (let i = 0; i < 30; i++) {
      const sector = bytewise ? random.below(512) * 8 : random.below(4096)
      const sectors = bytewise ? 8 : 1
      const bits = read(entry * 512 + (sector >> 3), 1)
      bits[0] = (bits[0] as number) & ~(bytewise ? 0xff : 0x80 >> (sector & 7))
      file.write(entry * 512 + (sector >> 3), bits)
      const at = index * 2 * mib + sector * 512
      if (at < size) below.copy(model, at, at, at + sectors * 512)
    }
  }
  return blocks
}

describe('blocks with sectors of the image below', () => {
  async function punched(bytewise = false) {
    const { files, models } = await chain()
    const model = models[2] as Buffer
    expect(punch(files, model, models[1] as Buffer, bytewise)).toBeGreaterThan(2)
    return { files, model }
  }

  it('show these', async () => {
    const { files, model } = await punched()
    expect((await contentOf(files, 'top')).equals(model)).toBe(true)
  })

  it('show them and what was written since', async () => {
    const { files, model } = await punched()
    await scribble(files, 'top', model, new Random(seed + 1))
    expect((await contentOf(files, 'top')).equals(model)).toBe(true)
  })

  judge.it('are read by libvhdi as they are here, before they are written to and after', async () => {
    // It takes single sectors behind others of the same byte for those of the image itself.
    const { files, model } = await punched(true)
    const paths = ['top', 'middle', 'base'].map((name) => {
      storeFile(folder.file(name), files.file(name) as PagedFile)
      return folder.file(name)
    })
    expect(readByLibrary(paths).equals(model)).toBe(true)
    await scribble(files, 'top', model, new Random(seed + 1))
    storeFile(paths[0] as string, files.file('top') as PagedFile)
    expect(readByLibrary(paths).equals(model)).toBe(true)
  })
})

describe('making a differencing image', () => {
  const make = (files: MemoryFiles, more: object) =>
    graphOver(files).createUnchecked({
      driver: 'vpc',
      size,
      backingFile: 'testkit-file:base',
      ...more,
      file: fileOf('image'),
    })

  it.each([
    ['a fixed one', { subformat: 'fixed' }, "Fixed image can't have backing file"],
    ['one on another format', { backingFmt: 'raw' }, 'backing_file must be a vpc image'],
  ])('refuses %s', async (_, more, text) => {
    await expect(make(new MemoryFiles(), more)).rejects.toThrow(text)
  })
})

/** Makes differencing images whose image below is a file of bytes. */
const overBytes: DriverDescriptor = {
  ...vpc,
  create: (context) => {
    const contentId = '01234567-89ab-cdef-0123-456789abcdef'
    const options = { ...context.options, backingFile: 'base' }
    return vpc.create!({ ...context, options, describe: async () => ({ contentId }) })
  },
}

const settings = { driver: overBytes, createOptions: { forceSize: true } }

describe(`a differencing image (seed ${seed})`, () => {
  it('has every sector that was flushed after a crash, and those of the image below', async () => {
    const workload = { backing: 'backing', size: 2 ** 23, cluster: 2 * mib, operations: 50, statesPerWorkload: 25 }
    const { findings, states } = await crashTest({ ...settings, ...workload, seed, states: 75 })
    expect(findings.map(({ kind, text }) => `${kind}: ${text}`)).toEqual([])
    expect(states).toBe(75)
  })

  it('tells every error of its storage', async () => {
    const { findings, runs } = await errorSweep({ ...settings, options: { backing: null } })
    expect(findings.map(({ kind, verb, nth, call, text }) => `${kind} ${verb} ${nth} ${call}: ${text}`)).toEqual([])
    expect(runs).toBeGreaterThan(10)
  })
})
