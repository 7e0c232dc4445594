/** Images with gaps: data, compressed data, snapshots and bitmaps, much of which is gone again. */
import { randomBytes } from 'node:crypto'
import { type Disk, Flag, Graph } from '@diskgraph/core'
import type { DirtyBitmap, DriverDescriptor, StoredBitmaps } from '@diskgraph/core/driver'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { MemoryFiles, PagedFile, type Random } from '@diskgraph/driver-testkit'

/** What an image is to have. */
export interface Wanted {
  readonly create: Readonly<Record<string, unknown>>
  readonly size: number
  readonly cluster: number
  readonly snapshots?: boolean
  readonly bitmaps?: boolean
  readonly compressed?: boolean
  /** Options of the node. */
  readonly options?: Readonly<Record<string, unknown>>
}

export const storage = { driver: 'testkit-file', name: 'image' }

export function graphOver(memory: MemoryFiles, ...drivers: readonly DriverDescriptor[]): Graph {
  return new Graph({
    drivers: [qcow2, memory.driver, ...drivers],
    secrets: { key: 'a secret' },
    references: 'allow',
    onWarning: () => undefined,
  })
}

/** The same files, apart from each other. */
export function copyOf(files: ReadonlyMap<string, PagedFile>): MemoryFiles {
  const memory = new MemoryFiles()
  for (const [name, file] of files) memory.put(name, file.clone())
  return memory
}

/** Makes such an image. */
export async function makeImage(wanted: Wanted, random: Random): Promise<ReadonlyMap<string, PagedFile>> {
  const { create, size, cluster, options } = wanted
  const memory = new MemoryFiles()
  memory.put('image')
  memory.put('data', PagedFile.from(new Uint8Array(0)))
  await using graph = graphOver(memory)
  await graph.createUnchecked({ driver: 'qcow2', size, clusterSize: cluster, ...create, file: storage })
  const disk = await graph.addUnchecked({ driver: 'qcow2', file: storage, ...options })
  const stored = disk.node.image.bitmaps as StoredBitmaps
  const clusters = size / cluster
  const run = (): readonly [number, number] => {
    const start = random.below(clusters)
    return [start * cluster, Math.min(1 + random.below(clusters / 6), clusters - start) * cluster]
  }
  // What goes at last stands at the start of the file.
  await disk.write(0, randomBytes(size / 4))
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 6; i++) {
      const [offset, length] = run()
      await disk.write(offset, randomBytes(length))
    }
    if (wanted.compressed === true) await writeCompressed(disk, cluster, random, run)
    if (wanted.bitmaps === true) {
      await stored.add(disk.node.addDirtyBitmap(512, `b${round}`))
      await disk.write(random.below(clusters) * cluster, randomBytes(cluster))
    }
    if (wanted.snapshots === true) await disk.snapshots.create({ name: `s${round}` })
    await disk.flush()
    const [offset, length] = run()
    await disk.discard(offset, length)
    await disk.writeZeroes(...run(), Flag.MayUnmap)
    await disk.writeZeroes(...run())
    await disk.flush()
  }
  if (wanted.snapshots === true) {
    await disk.snapshots.delete('s0')
    await disk.snapshots.delete('s1')
  }
  await disk.discard(0, size / 8)
  if (wanted.bitmaps === true) {
    const first = stored.list[0] as DirtyBitmap
    await stored.remove(first)
    disk.node.removeDirtyBitmap(first)
  }
  return memory.byName
}

async function writeCompressed(
  disk: Disk,
  cluster: number,
  random: Random,
  run: () => readonly [number, number],
): Promise<void> {
  const [offset, length] = run()
  await disk.discard(offset, length)
  for (let at = offset; at < offset + length; at += cluster) {
    const buf = randomBytes(cluster)
    buf.fill(random.below(256), random.below(cluster / 2))
    // A cluster that a snapshot shares may not take it.
    await disk.write(at, buf, Flag.Compressed).catch(() => undefined)
  }
}

/** All that readers see: the disk, its snapshots, and the bits of its bitmaps. */
export async function contentOf(
  memory: MemoryFiles,
  options: Readonly<Record<string, unknown>> = {},
): Promise<ReadonlyMap<string, string>> {
  const content = new Map<string, string>()
  await using graph = graphOver(memory)
  const disk = await graph.addUnchecked({ driver: 'qcow2', readOnly: true, file: storage, ...options })
  const show = async (name: string, shown: Disk): Promise<void> => {
    const buf = Buffer.alloc(shown.size)
    await shown.read(0, buf)
    content.set(name, buf.toString('latin1'))
  }
  await show('disk', disk)
  for (const bitmap of disk.node.dirtyBitmaps) {
    const runs: string[] = []
    for (let bits = bitmap.nextDirty(0); bits; bits = bitmap.nextDirty(bits.offset + bits.length)) {
      runs.push(`${bits.offset}+${bits.length}`)
    }
    if (!bitmap.inconsistent) content.set(`bitmap ${bitmap.name}`, runs.join(' '))
  }
  const names = disk.node.image.snapshots === undefined ? [] : disk.snapshots.list().map(({ name }) => name)
  for (const name of names) {
    await disk.snapshots.load(name)
    await show(`snapshot ${name}`, disk)
  }
  return content
}

/** How many clusters have a reference, by the refcount blocks of the file. */
export function usedClusters(file: PagedFile): number {
  const read = (offset: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length)
    file.read(offset, bytes)
    return bytes
  }
  const header = read(0, 104)
  const cluster = 2 ** header.readUInt32BE(20)
  const bits = header.readUInt32BE(4) === 2 ? 16 : 2 ** header.readUInt32BE(96)
  const table = read(Number(header.readBigUInt64BE(48)), header.readUInt32BE(56) * cluster)
  let used = 0
  for (let at = 0; at < table.length; at += 8) {
    const offset = Number(table.readBigUInt64BE(at))
    const block = offset === 0 ? Buffer.alloc(0) : read(offset, cluster)
    const bytes = bits / 8
    if (bits >= 8) {
      for (let i = 0; i < block.length; i += bytes) if (block.subarray(i, i + bytes).some((byte) => byte > 0)) used++
    } else {
      for (const byte of block) for (let i = 0; i < 8; i += bits) if ((byte >> i) & (2 ** bits - 1)) used++
    }
  }
  return used
}
