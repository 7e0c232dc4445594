/** Live jobs on chains that the real qemu-img made, and what it reads and finds in them afterwards. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Disk, Graph } from '@diskgraph/core'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { peer, Random, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { type Job, JobTable, startBackup, startCommit, startMirror, startStream } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { reached } from './events.ts'

const size = 6 * 2 ** 20
const layers = ['base.qcow2', 'mid.qcow2', 'top.qcow2']
const qemu = peer('qemu-img', { describe, it })

async function tool(name: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runTool(name, args)
  if (status !== 0) throw new Error(`${name} ${args.join(' ')}: ${stderr}`)
  return stdout
}

class Files {
  readonly folder: TempFolder
  readonly storages = new Map<string, MemoryStorage>()

  constructor(folder: TempFolder) {
    this.folder = folder
  }

  path(name: string): string {
    return join(this.folder.path, name)
  }

  /** base ← mid ← top, with data, zeroes and holes in each. */
  async makeChain(random: Random): Promise<void> {
    mkdirSync(this.folder.path, { recursive: true })
    for (const [i, name] of layers.entries()) {
      const below = i === 0 ? [] : ['-b', layers[i - 1] as string, '-F', 'qcow2']
      // The base is shorter than what stands on it.
      await tool('qemu-img', 'create', '-qf', 'qcow2', ...below, this.path(name), String(i === 0 ? size / 2 : size))
      const writes: string[] = []
      for (let n = 0; n < 6; n++) {
        const length = 512 * random.between(1, 500)
        const offset = 512 * random.below((i === 0 ? size / 2 : size) / 512 - 500)
        writes.push(
          '-c',
          random.chance(0.2) ? `write -z ${offset} ${length}` : `write -P ${10 * i + n + 1} ${offset} ${length}`,
        )
      }
      await tool('qemu-io', '-f', 'qcow2', ...writes, this.path(name))
    }
    for (const name of layers) {
      const bytes = readFileSync(this.path(name))
      const storage = new MemoryStorage(bytes.length)
      storage.write(0, bytes)
      this.storages.set(name, storage)
    }
  }

  /** What qemu-img reads of the image `name` and finds when it checks it. */
  async judged(name: string): Promise<Uint8Array> {
    for (const [file, storage] of this.storages) {
      const bytes = new Uint8Array(storage.size)
      storage.read(0, bytes)
      writeFileSync(this.path(file), bytes)
    }
    await tool('qemu-img', 'check', '-q', this.path(name))
    await tool('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', this.path(name), this.path('out.raw'))
    return readFileSync(this.path('out.raw'))
  }
}

interface Run {
  /** Starts the job; `complete` where it has to be completed. */
  start(jobs: JobTable): Promise<Job>
  readonly complete?: boolean
  /** The image that guests use in the end. */
  readonly result: string
  /** Holds the disk as it was at the start. */
  readonly backup?: string
}

const newImage = { driver: 'qcow2', size, file: { driver: 'memory', name: 'new.qcow2' } }

const runs: Readonly<Record<string, Run>> = {
  'stream of all': { start: (jobs) => startStream(jobs, { device: 'top' }), result: 'top.qcow2' },
  'stream onto a base': {
    start: (jobs) => startStream(jobs, { device: 'top', baseNode: 'base', backingFile: 'base.qcow2' }),
    result: 'top.qcow2',
  },
  'commit of the middle': {
    start: (jobs) => startCommit(jobs, { device: 'top', topNode: 'mid', backingFile: 'base.qcow2' }),
    result: 'top.qcow2',
  },
  'commit of all': { start: (jobs) => startCommit(jobs, { device: 'top' }), complete: true, result: 'base.qcow2' },
  mirror: {
    start: (jobs) => startMirror(jobs, { device: 'top', target: 'new', sync: 'full' }),
    complete: true,
    result: 'new.qcow2',
  },
  'backup, compressed': {
    start: (jobs) => startBackup(jobs, { device: 'top', target: 'new', sync: 'full', compress: true }),
    result: 'top.qcow2',
    backup: 'new.qcow2',
  },
}

qemu.describe('a chain of qemu-img', () => {
  it.each(Object.entries(runs))('reads as it should after a %s', async (_name, run) => {
    await using folder = await TempFolder.make()
    const files = new Files(folder)
    const random = new Random(7)
    await files.makeChain(random)
    const expected = Uint8Array.from(await files.judged('top.qcow2'))
    const before = Uint8Array.from(expected)
    const graph = new Graph({ drivers: [memoryDriver(files.storages), qcow2] })
    const jobs = new JobTable(graph)
    const layer = (name: string, backing?: object) => ({
      driver: 'qcow2',
      nodeName: name,
      file: { driver: 'memory', name: `${name}.qcow2` },
      backing: backing ?? null,
    })
    const disk = await graph.addUnchecked(layer('top', layer('mid', layer('base'))))
    await graph.createUnchecked(newImage)
    await graph.addNode(layer('new'))
    const job = await run.start(jobs)
    for (let i = 0; i < 20; i++) await guestWrite(disk, expected, random)
    if (run.complete) {
      await reached(job, 'ready')
      await guestWrite(disk, expected, random)
      job.complete()
    }
    await job.finished
    await guestWrite(disk, expected, random)
    await disk.close()
    await graph.close()
    expect(Buffer.compare(await files.judged(run.result), expected)).toBe(0)
    if (run.backup !== undefined) expect(Buffer.compare(await files.judged(run.backup), before)).toBe(0)
  })
})

async function guestWrite(disk: Disk, content: Uint8Array, random: Random): Promise<void> {
  const data = random.bytes(random.between(1, 9000))
  const offset = random.below(size - data.length)
  await disk.write(offset, data)
  content.set(data, offset)
}
