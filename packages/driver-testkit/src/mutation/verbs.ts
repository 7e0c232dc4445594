/** What is done to a mutated image: all that a user might, with no trust in what it says. */
import { type Disk, type DriverDescriptor, Flag, Graph } from '@diskgraph/core'
import { bugIn } from '../bugs.ts'
import type { PagedFile } from '../paged-file.ts'
import type { Random } from '../random.ts'
import { Shelf } from '../shelf.ts'

/** The drivers that open mutated images. */
export interface MutationDrivers {
  readonly driver: DriverDescriptor
  readonly drivers?: readonly DriverDescriptor[]
}

/**
 * Opens `file` read-only and read-write and uses it. Returns what is wrong: an error that is not a BlockError, or a
 * file that a reading verb has changed.
 */
export async function useMutated(drivers: MutationDrivers, file: PagedFile, random: Random): Promise<string[]> {
  const faults: string[] = []
  const changes = file.changes
  await attempt(faults, 'inspect', () => withDisk(drivers, file, { readOnly: true }, true, inspect))
  await attempt(faults, 'read', () => withDisk(drivers, file, { readOnly: true }, false, (disk) => readAll(disk, random, faults)))
  if (file.changes !== changes) faults.push('a reading verb changed the file')
  const copy = file.clone()
  await attempt(faults, 'write', () => withDisk(drivers, file, {}, false, (disk) => writeAll(disk, random, faults)))
  await attempt(faults, 'repair', () => withDisk(drivers, copy, {}, false, (disk) => repair(disk, faults)))
  return faults
}

async function withDisk(
  { driver, drivers = [] }: MutationDrivers,
  file: PagedFile,
  base: Readonly<Record<string, unknown>>,
  inspectOnly: boolean,
  work: (disk: Disk) => Promise<void>,
): Promise<void> {
  const shelf = new Shelf()
  shelf.put('image', file)
  const graph = new Graph({ drivers: [driver, ...drivers, shelf.driver], onWarning: () => undefined })
  try {
    const definition = { driver: driver.name, discard: 'unmap', ...base, file: { driver: 'testkit-file', name: 'image' } }
    await work(await graph.addUnchecked(definition, { inspect: inspectOnly }))
  } finally {
    await graph.close()
  }
}

async function inspect(disk: Disk): Promise<void> {
  JSON.stringify(await disk.info())
}

async function readAll(disk: Disk, random: Random, faults: string[]): Promise<void> {
  const { image } = disk.node
  await attempt(faults, 'check', async () => void (image.check && (await disk.check({ repair: 'none' }))))
  await attempt(faults, 'snapshot list', async () => void image.snapshots?.list())
  await attempt(faults, 'map', async () => {
    let count = 0
    for await (const extent of disk.extents()) {
      if (extent.length <= 0) throw new Error('an extent without length')
      if (++count === 200) return
    }
  })
  for (const offset of places(disk.size, random)) {
    const length = Math.min(disk.size - offset, random.pick([1, 512, 65536, 200_000]))
    await attempt(faults, `read at ${offset}`, () => disk.read(offset, new Uint8Array(length)))
  }
}

async function writeAll(disk: Disk, random: Random, faults: string[]): Promise<void> {
  const { image } = disk.node
  for (const offset of places(disk.size, random).slice(0, 3)) {
    const length = Math.min(disk.size - offset, random.pick([1, 512, 65536, 200_000]))
    await attempt(faults, `write at ${offset}`, () => disk.write(offset, new Uint8Array(length).fill(1)))
    await attempt(faults, `zeroes at ${offset}`, () => disk.writeZeroes(offset, Math.min(2 ** 20, disk.size - offset), Flag.MayUnmap))
    await attempt(faults, `discard at ${offset}`, () => disk.discard(offset, Math.min(2 ** 20, disk.size - offset)))
  }
  if (image.snapshots !== undefined) {
    await attempt(faults, 'create snapshot', () => disk.snapshots.create({ name: 'mutated' }))
    await attempt(faults, 'write over a snapshot', () => disk.write(0, new Uint8Array(Math.min(512, disk.size)).fill(2)))
    const [first] = disk.snapshots.list()
    if (first !== undefined && random.chance(0.5)) await attempt(faults, 'apply snapshot', () => disk.snapshots.apply(first.id))
    if (first !== undefined) await attempt(faults, 'delete snapshot', () => disk.snapshots.delete(first.id))
  }
  await attempt(faults, 'flush', () => disk.flush())
  if (random.chance(0.3)) await attempt(faults, 'resize', () => disk.truncate(disk.size + 2 ** 20))
}

async function repair(disk: Disk, faults: string[]): Promise<void> {
  if (disk.node.image.check === undefined) return
  await attempt(faults, 'check and repair', () => disk.check({ repair: 'all' }))
  await attempt(faults, 'check after repair', () => disk.check({ repair: 'none' }))
}

/** Five places: the start, the end, the middle, and two random ones. */
function places(size: number, random: Random): number[] {
  if (size === 0) return []
  return [0, Math.floor(size / 2), size - 1, random.below(size), random.below(Math.min(size, 2 ** 22))]
}

async function attempt(faults: string[], what: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    const bug = bugIn(error)
    if (bug !== undefined) faults.push(`${what}: ${bug}`)
  }
}
