/** Differencing images of a format of virtual hard disks, for its tests: chains with a model, and what holds of all of them. */
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
import { afterAll, describe, expect, it } from 'vitest'

export const mib = 2 ** 20
/** Bytes of the disks of chains. */
export const size = 12 * mib
export const seed = Number(process.env.SEED ?? randomSeed())
const folder = await TempFolder.make()
afterAll(() => folder.remove())

/** The images of a chain, the base first. */
const names = ['base', 'middle', 'top']

const libvhdi = spawnSync('/usr/bin/python3', ['-c', 'import pyvhdi']).status === 0
export const judge = peer(libvhdi ? 'python3' : 'python3 with pyvhdi', { describe, it })

/** What libvhdi reads through a chain. */
export function readByLibrary(files: MemoryFiles): Buffer {
  const paths = names.toReversed().map((name) => {
    storeFile(folder.file(name), files.file(name) as PagedFile)
    return folder.file(name)
  })
  return readPaths(paths)
}

function readPaths(paths: readonly string[]): Buffer {
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

/** How an image is written to. */
interface Scribbling {
  /** How often zeroes are written, of 1. Default 0.3. */
  readonly zeroes?: number
  /** The first write is at the start. Default false. */
  readonly fromStart?: boolean
}

/** Images of one format. */
export class DifferencingImages {
  readonly #driver: DriverDescriptor
  readonly #createOptions: Readonly<Record<string, unknown>>

  constructor(driver: DriverDescriptor, createOptions: Readonly<Record<string, unknown>>) {
    this.#driver = driver
    this.#createOptions = createOptions
  }

  graph(files: MemoryFiles): Graph {
    return new Graph({ drivers: [this.#driver, files.driver], references: 'allow', onWarning: () => undefined })
  }

  /** Makes the image `name`. */
  create(files: MemoryFiles, name: string, more: object = {}): Promise<void> {
    const file = { driver: 'testkit-file', name }
    return this.graph(files).createUnchecked({ driver: this.#driver.name, size, ...more, file })
  }

  /** What `name` shows, with what is below it. */
  async contentOf(files: MemoryFiles, name: string): Promise<Buffer> {
    await using graph = this.graph(files)
    const disk = await graph.open(`testkit-file:${name}`, { format: this.#driver.name, readOnly: true })
    const bytes = Buffer.alloc(disk.size)
    await disk.read(0, bytes)
    return bytes
  }

  /** Writes at random, in the model as well. */
  async scribble(
    files: MemoryFiles,
    name: string,
    model: Buffer,
    random: Random,
    { zeroes = 0.3, fromStart = false }: Scribbling = {},
  ): Promise<void> {
    await using graph = this.graph(files)
    const disk = await graph.open(`testkit-file:${name}`, { format: this.#driver.name })
    for (let i = 0; i < 25; i++) {
      const offset = fromStart && i === 0 ? 0 : random.below(size / 512) * 512
      const length = Math.min(size - offset, 512 * (1 + random.below(random.chance(0.2) ? 4000 : 60)))
      const byte = random.chance(zeroes) ? 0 : random.between(1, 255)
      if (byte === 0) await disk.writeZeroes(offset, length)
      else await disk.write(offset, new Uint8Array(length).fill(byte))
      model.fill(byte, offset, offset + length)
      if (random.chance(0.1)) await disk.flush()
    }
  }

  /** A chain of three, and what each of them shows. */
  async chain(scribbling?: Scribbling): Promise<{ readonly files: MemoryFiles; readonly models: readonly Buffer[] }> {
    const random = new Random(seed)
    const files = new MemoryFiles()
    const models: Buffer[] = []
    for (const [i, name] of names.entries()) {
      const below = i === 0 ? {} : { backingFile: `testkit-file:${names[i - 1]}`, backingFmt: this.#driver.name }
      await this.create(files, name, { ...this.#createOptions, ...below })
      const model = Buffer.from(models.at(-1) ?? Buffer.alloc(size))
      await this.scribble(files, name, model, random, scribbling)
      models.push(model)
    }
    return { files, models }
  }
}

/**
 * What holds of differencing images of `driver`, whose blocks have `cluster` bytes with `createOptions`. `judged`: those that
 * libvhdi can read.
 */
export function differencingSuite(
  driver: DriverDescriptor,
  createOptions: Readonly<Record<string, unknown>>,
  cluster: number,
  judged?: Scribbling,
): void {
  const images = new DifferencingImages(driver, createOptions)

  describe(`a chain of differencing images (seed ${seed})`, () => {
    it('shows what was written into each of them', async () => {
      const { files, models } = await images.chain()
      for (const [i, name] of names.entries()) {
        expect((await images.contentOf(files, name)).equals(models[i] as Buffer)).toBe(true)
      }
    })

    judge.it('is read by libvhdi as it is here', async () => {
      const { files, models } = await images.chain(judged)
      expect(readByLibrary(files).equals(models[2] as Buffer)).toBe(true)
    })
  })

  describe('making a differencing image', () => {
    it.each([
      ['a fixed one', { subformat: 'fixed' }, "Fixed image can't have backing file"],
      ['one on another format', { backingFmt: 'raw' }, `backing_file must be a ${driver.name} image`],
    ])('refuses %s', async (_, more, text) => {
      const making = images.create(new MemoryFiles(), 'image', { backingFile: 'testkit-file:base', ...more })
      await expect(making).rejects.toThrow(text)
    })
  })

  /** Makes differencing images whose image below is a file of bytes. */
  const overBytes: DriverDescriptor = {
    ...driver,
    create: (context) => {
      const contentId = '01234567-89ab-cdef-0123-456789abcdef'
      const options = { ...context.options, backingFile: 'base' }
      return driver.create!({ ...context, options, describe: async () => ({ contentId }) })
    },
  }
  const settings = { driver: overBytes, createOptions }

  describe(`a differencing image (seed ${seed})`, () => {
    it('has every sector that was flushed after a crash, and those of the image below', async () => {
      const workload = { backing: 'backing', size: 2 ** 23, cluster, operations: 50, statesPerWorkload: 25 }
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
}
