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
import { vhdx } from '@diskgraph/driver-vhdx'
import { afterAll, describe, expect, it } from 'vitest'

const mib = 2 ** 20
const size = 12 * mib
const seed = Number(process.env.SEED ?? randomSeed())
const folder = await TempFolder.make()
afterAll(() => folder.remove())

const fileOf = (name: string) => ({ driver: 'testkit-file', name })

function graphOver(files: MemoryFiles): Graph {
  return new Graph({ drivers: [vhdx, files.driver], references: 'allow', onWarning: () => undefined })
}

/** What `name` shows, with what is below it. */
async function contentOf(files: MemoryFiles, name: string): Promise<Buffer> {
  await using graph = graphOver(files)
  const disk = await graph.open(`testkit-file:${name}`, { format: 'vhdx', readOnly: true })
  const bytes = Buffer.alloc(disk.size)
  await disk.read(0, bytes)
  return bytes
}

/** Writes at random, in the model as well. */
async function scribble(files: MemoryFiles, name: string, model: Buffer, random: Random): Promise<void> {
  await using graph = graphOver(files)
  const disk = await graph.open(`testkit-file:${name}`, { format: 'vhdx' })
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
    const backing = below === undefined ? {} : { backingFile: `testkit-file:${below}`, backingFmt: 'vhdx' }
    await graph.createUnchecked({ driver: 'vhdx', size, blockSize: mib, ...backing, file: fileOf(name) })
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

  it('is refused when an image below has been written to since', async () => {
    const { files, models } = await chain()
    await scribble(files, 'base', Buffer.from(models[0] as Buffer), new Random(1))
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

describe('making a differencing image', () => {
  const make = (files: MemoryFiles, more: object) =>
    graphOver(files).createUnchecked({
      driver: 'vhdx',
      size,
      backingFile: 'testkit-file:base',
      ...more,
      file: fileOf('image'),
    })

  it.each([
    ['a fixed one', { subformat: 'fixed' }, "Fixed image can't have backing file"],
    ['one on another format', { backingFmt: 'raw' }, 'backing_file must be a vhdx image'],
  ])('refuses %s', async (_, more, text) => {
    await expect(make(new MemoryFiles(), more)).rejects.toThrow(text)
  })
})

/** Makes differencing images whose image below is a file of bytes. */
const overBytes: DriverDescriptor = {
  ...vhdx,
  create: (context) => {
    const contentId = '01234567-89ab-cdef-0123-456789abcdef'
    const options = { ...context.options, backingFile: 'base' }
    return vhdx.create!({ ...context, options, describe: async () => ({ contentId }) })
  },
}

const settings = { driver: overBytes, createOptions: { blockSize: mib } }

describe(`a differencing image (seed ${seed})`, () => {
  it('has every sector that was flushed after a crash, and those of the image below', async () => {
    const workload = { backing: 'backing', size: 2 ** 23, cluster: mib, operations: 50, statesPerWorkload: 25 }
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
