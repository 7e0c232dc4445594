/** What is done to a mutated image: all that a user might, with no trust in what it says. */
import { type Disk, Graph, type OpenSettings } from '@diskgraph/core'
import { type DriverDescriptor, Flag } from '@diskgraph/core/driver'
import { bugIn } from '../bugs.ts'
import { MemoryFiles } from '../memory-files.ts'
import type { PagedFile } from '../paged-file.ts'
import type { Random } from '../random.ts'

/** The drivers that open mutated images. */
export interface MutationDrivers {
  readonly driver: DriverDescriptor
  readonly drivers?: readonly DriverDescriptor[]
  /** What opens an image, besides its file. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Secret objects by id, which the options name. */
  readonly secrets?: Readonly<Record<string, string>>
}

/** What became of a mutated image. */
export interface MutatedUse {
  /** Errors that are not BlockErrors, and files that a reading verb has changed. */
  readonly faults: string[]
  /** The verb that took longest, and its milliseconds: of the processor, if the platform tells them. */
  slowest: string
  milliseconds: number
}

/** Opens `file` read-only and read-write, checks and repairs it, and uses it all the while. */
export async function useMutated(drivers: MutationDrivers, file: PagedFile, random: Random): Promise<MutatedUse> {
  const use: MutatedUse = { faults: [], slowest: 'none', milliseconds: 0 }
  const changes = file.changes
  await withDisk(drivers, file, use, { readOnly: true }, { inspect: true }, (disk) => inspect(disk, use))
  await withDisk(drivers, file, use, { readOnly: true }, {}, (disk) => readAll(disk, random, use))
  if (file.changes !== changes) use.faults.push('a reading verb changed the file')
  const copy = file.clone()
  await withDisk(drivers, file, use, {}, {}, (disk) => writeAll(disk, random, use))
  await withDisk(drivers, copy, use, {}, { check: true }, (disk) => repair(disk, use))
  return use
}

async function withDisk(
  { driver, drivers = [], options, secrets = {} }: MutationDrivers,
  file: PagedFile,
  use: MutatedUse,
  base: Readonly<Record<string, unknown>>,
  settings: OpenSettings,
  work: (disk: Disk) => Promise<void>,
): Promise<void> {
  const files = new MemoryFiles()
  files.put('image', file)
  const graph = new Graph({ drivers: [driver, ...drivers, files.driver], secrets, onWarning: () => undefined })
  const storage = { driver: 'testkit-file', name: 'image' }
  let disk: Disk | undefined
  await attempt(use, 'open', async () => {
    disk = await graph.addUnchecked(
      { driver: driver.name, discard: 'unmap', ...options, ...base, file: storage },
      settings,
    )
  })
  if (disk !== undefined) await work(disk)
  await attempt(use, 'close', () => graph.close())
}

async function inspect(disk: Disk, use: MutatedUse): Promise<void> {
  await attempt(use, 'info', async () => void JSON.stringify(await disk.info()))
}

async function readAll(disk: Disk, random: Random, use: MutatedUse): Promise<void> {
  const { image } = disk.node
  await attempt(use, 'check', async () => void (image.check && (await disk.check({ repair: 'none' }))))
  await attempt(use, 'snapshot list', async () => void image.snapshots?.list())
  await attempt(use, 'map', async () => {
    let count = 0
    for await (const extent of disk.extents()) {
      if (extent.length <= 0) throw new Error('an extent without length')
      if (++count === 200) return
    }
  })
  for (const offset of places(disk.size, random)) {
    const length = Math.min(disk.size - offset, random.pick([1, 512, 65536, 200_000]))
    await attempt(use, `read at ${offset}`, () => disk.read(offset, new Uint8Array(length)))
  }
}

async function writeAll(disk: Disk, random: Random, use: MutatedUse): Promise<void> {
  const { image } = disk.node
  for (const offset of places(disk.size, random).slice(0, 3)) {
    const length = Math.min(disk.size - offset, random.pick([1, 512, 65536, 200_000]))
    await attempt(use, `write at ${offset}`, () => disk.write(offset, new Uint8Array(length).fill(1)))
    await attempt(use, `zeroes at ${offset}`, () =>
      disk.writeZeroes(offset, Math.min(2 ** 20, disk.size - offset), Flag.MayUnmap),
    )
    await attempt(use, `discard at ${offset}`, () => disk.discard(offset, Math.min(2 ** 20, disk.size - offset)))
  }
  if (image.snapshots !== undefined) {
    await attempt(use, 'create snapshot', () => disk.snapshots.create({ name: 'mutated' }))
    await attempt(use, 'write over a snapshot', () => disk.write(0, new Uint8Array(Math.min(512, disk.size)).fill(2)))
    const [first] = disk.snapshots.list()
    if (first !== undefined && random.chance(0.5))
      await attempt(use, 'apply snapshot', () => disk.snapshots.apply(first.id))
    if (first !== undefined) await attempt(use, 'delete snapshot', () => disk.snapshots.delete(first.id))
  }
  await attempt(use, 'flush', () => disk.flush())
  if (random.chance(0.3)) await attempt(use, 'resize', () => disk.truncate(disk.size + 2 ** 20))
}

async function repair(disk: Disk, use: MutatedUse): Promise<void> {
  if (disk.node.image.check === undefined) return
  await attempt(use, 'check and repair', () => disk.check({ repair: 'all' }))
  await attempt(use, 'check after repair', () => disk.check({ repair: 'none' }))
}

/** Five places: the start, the end, the middle, and two random ones. */
function places(size: number, random: Random): number[] {
  if (size === 0) return []
  return [0, Math.floor(size / 2), size - 1, random.below(size), random.below(Math.min(size, 2 ** 22))]
}

async function attempt(use: MutatedUse, what: string, work: () => Promise<unknown>): Promise<void> {
  const start = processorTime()
  try {
    await work()
  } catch (error) {
    const bug = bugIn(error)
    if (bug !== undefined) use.faults.push(`${what}: ${bug}`)
  }
  const milliseconds = processorTime() - start
  if (milliseconds > use.milliseconds) Object.assign(use, { slowest: what, milliseconds })
}

/** Milliseconds that do not depend on what else the machine does, where that is known. */
function processorTime(): number {
  const { process } = globalThis as { process?: { cpuUsage?(): { user: number; system: number } } }
  const usage = process?.cpuUsage?.()
  return usage === undefined ? performance.now() : (usage.user + usage.system) / 1000
}
