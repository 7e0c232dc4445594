/** Crashes of images that store bitmaps: a bitmap that is not marked tells of everything that was written. */
import { type DirtyBitmap, type Disk, Graph } from '@diskgraph/core'
import type { DriverDescriptor, StoredBitmaps } from '@diskgraph/core/driver'
import { qcow2 } from '@diskgraph/driver-qcow2'
import {
  CrashWalk,
  crashTest,
  MemoryFiles,
  type PagedFile,
  Random,
  Recording,
  randomSeed,
} from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? randomSeed())
const size = 2 ** 20
const sessions = 5

/** qcow2 whose new images store a bitmap from the first writable opening on. */
const recording: DriverDescriptor = {
  ...qcow2,
  open: async (context) => {
    const image = await qcow2.open(context)
    if (context.readOnly || image.bitmaps?.supported !== true || image.bitmaps.list.length > 0) return image
    const { DirtyBitmap: Bitmap } = await import('@diskgraph/core/driver')
    await image.bitmaps.add(new Bitmap(image.size, 4096, 'b'))
    return image
  },
}

function newGraph(memory: MemoryFiles, record?: Recording): Graph {
  return new Graph({
    drivers: [qcow2, memory.driver, ...(record === undefined ? [] : [record.driver])],
    onWarning: () => undefined,
  })
}

const storage = { driver: 'testkit-file', name: 'image' }

function bitsOf(bitmap: DirtyBitmap): string {
  const runs: string[] = []
  for (let run = bitmap.nextDirty(0); run; run = bitmap.nextDirty(run.offset + run.length)) {
    runs.push(`${run.offset}+${run.length}`)
  }
  return runs.join(' ')
}

/** What the disk's bitmaps were when a session ended. */
type Stored = Readonly<Record<string, string>>

/** One session: some writes of its number, and changes of bitmaps. */
async function useDisk(disk: Disk, session: number, random: Random): Promise<void> {
  const { node } = disk
  const stored = node.image.bitmaps as StoredBitmaps
  if (session === 1 || (session > 2 && random.chance(0.5))) {
    const name = session === 1 ? 'first' : 'second'
    const old = node.dirtyBitmaps.find((one) => one.name === name)
    if (old === undefined) await stored.add(node.addDirtyBitmap(512 * 2 ** random.below(4), name))
    else {
      await stored.remove(old)
      node.removeDirtyBitmap(old)
    }
  }
  for (let i = 0; i < 6; i++) {
    const length = 512 * (1 + random.below(40))
    await disk.write(512 * random.below((size - length) / 512), new Uint8Array(length).fill(session))
    if (random.chance(0.3)) await disk.flush()
    const bitmap = node.dirtyBitmaps[0]
    if (random.chance(0.1) && bitmap !== undefined) {
      await stored.prepare()
      bitmap.clear(0, size)
    }
  }
}

interface Recorded {
  readonly files: ReadonlyMap<string, PagedFile>
  readonly record: Recording
  readonly history: readonly Stored[]
}

async function recordSessions(clusterSize: number, random: Random): Promise<Recorded> {
  const memory = new MemoryFiles()
  memory.put('image')
  await using maker = newGraph(memory)
  await maker.createUnchecked({ driver: 'qcow2', size, clusterSize, file: storage })
  const files = new Map([...memory.byName].map(([name, file]) => [name, file.clone()]))
  const record = new Recording()
  const history: Stored[] = [{}]
  for (let session = 1; session <= sessions; session++) {
    await using graph = newGraph(memory, record)
    const file = { driver: 'testkit-recorder', as: 'image', file: storage }
    const disk = await graph.addUnchecked({ driver: 'qcow2', file })
    await useDisk(disk, session, random)
    const { dirtyBitmaps } = disk.node
    history.push(Object.fromEntries(dirtyBitmaps.map((bitmap) => [bitmap.name as string, bitsOf(bitmap)])))
  }
  return { files, record, history }
}

/** What is wrong with a state; undefined: nothing. */
async function faultOf(files: ReadonlyMap<string, PagedFile>, history: readonly Stored[]): Promise<string | undefined> {
  const memory = new MemoryFiles()
  for (const [name, file] of files) memory.put(name, file.clone())
  await using graph = newGraph(memory)
  const disk = await graph.addUnchecked({ driver: 'qcow2', readOnly: true, file: storage })
  const { corruptions, checkErrors } = await disk.check({})
  if (corruptions + checkErrors > 0) return `${corruptions} corruptions`
  const bytes = new Uint8Array(size)
  await disk.read(0, bytes)
  const last = bytes.reduce((most, byte) => Math.max(most, byte), 0)
  for (const bitmap of disk.node.dirtyBitmaps) {
    if (bitmap.inconsistent) continue
    const bits = bitsOf(bitmap)
    const known = history.some((stored, session) => session >= last && stored[bitmap.name as string] === bits)
    if (!known) return `bitmap '${bitmap.name}' misses what session ${last} wrote: ${bits}`
  }
  if (history.slice(last).every((stored) => 'first' in stored) && last > 1 && disk.node.dirtyBitmaps.length === 0) {
    return 'the bitmap is gone'
  }
  return undefined
}

describe(`crashes of images with bitmaps (seed ${seed})`, () => {
  it.each([512, 65536])('leave no bitmap of %i-byte clusters that misses a write', async (clusterSize) => {
    const faults: string[] = []
    for (let workload = 0; workload < 4; workload++) {
      const random = new Random(seed + workload)
      const { files, record, history } = await recordSessions(clusterSize, random)
      const walk = new CrashWalk(files, record.calls)
      const times = Array.from({ length: 60 }, () => random.between(0, record.now)).sort((a, b) => a - b)
      for (const time of times) {
        walk.advance(time)
        const fault = await faultOf(walk.state(time, random).files, history).catch((error) => String(error))
        if (fault !== undefined) faults.push(`workload ${workload}, time ${time}: ${fault}`)
      }
    }
    expect(faults).toEqual([])
  })

  it.each([512, 65536])(
    'lose nothing that was flushed, and corrupt nothing, with %i-byte clusters',
    async (clusterSize) => {
      const createOptions = { clusterSize }
      const more = clusterSize === 512 ? { size: 2 ** 20, cluster: 512 } : {}
      const report = await crashTest({ driver: recording, seed, states: 60, createOptions, ...more })
      expect(report.findings.map(({ kind, text }) => `${kind}: ${text}`)).toEqual([])
      expect(report).toMatchObject({ states: 60, corrupt: 0, lost: 0, unopenable: 0 })
    },
  )
})
