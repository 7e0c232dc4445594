/** The files and directories that a guest sees, by what it wrote. EIO for what is no sound file system. */
import { divUp } from '@diskgraph/core/driver'
import type { Run } from '../disk/fat.ts'
import {
  entrySize,
  firstCluster,
  type Geometry,
  mostEntries,
  offsetOf,
  placesOf,
  sectorSize,
} from '../disk/geometry.ts'
import { Chains, type ReadDisk, unsound } from './chains.ts'
import { type ReadEntry, readEntries } from './entries.ts'

export interface GuestFile extends ReadEntry {
  readonly kind: 'file'
  /** The clusters that hold its content, without such as are its own behind that. */
  readonly runs: readonly Run[]
}

export interface GuestDirectory extends ReadEntry {
  readonly kind: 'directory'
  readonly entries: readonly GuestEntry[]
}

export type GuestEntry = GuestFile | GuestDirectory

const deepest = 64
const mostFiles = 2 ** 20
/** Fields of the boot sector that say where what stands. */
const shapeStart = 11
const shapeEnd = 36

/** The tree, and the FAT that it was found by. */
export interface GuestVolume {
  readonly root: GuestDirectory
  readonly chains: Chains
}

/** Reads the tree. `boot` is the boot sector as it was when the disk was made. */
export async function readGuestVolume(geometry: Geometry, boot: Uint8Array, read: ReadDisk): Promise<GuestVolume> {
  const sector = new Uint8Array(sectorSize)
  await read(placesOf(geometry).boot, sector)
  for (let at = shapeStart; at < shapeEnd; at++) {
    if (sector[at] !== boot[at]) throw unsound('the boot sector was replaced: another file system may have been made')
  }
  const chains = await Chains.read(geometry, read)
  return { root: await new Walk(geometry, chains, read).root(), chains }
}

class Walk {
  readonly #geometry: Geometry
  readonly #chains: Chains
  readonly #read: ReadDisk
  readonly #clusterBytes: number
  #found = 0

  constructor(geometry: Geometry, chains: Chains, read: ReadDisk) {
    this.#geometry = geometry
    this.#chains = chains
    this.#read = read
    this.#clusterBytes = geometry.clusterSectors * sectorSize
  }

  async root(): Promise<GuestDirectory> {
    const { rootEntries } = this.#geometry
    const cluster = rootEntries === 0 ? firstCluster : 0
    const itself = { name: '', isExact: true, isDirectory: true, cluster, size: 0, modified: 0 }
    if (rootEntries === 0) return this.#directory(itself, '/', 0, undefined)
    const bytes = new Uint8Array(divUp(rootEntries * entrySize, sectorSize) * sectorSize)
    await this.#read(placesOf(this.#geometry).root, bytes)
    const entries = await this.#entries(readEntries(bytes, '/', undefined), '', 1)
    return { kind: 'directory', ...itself, entries }
  }

  async #directory(entry: ReadEntry, path: string, depth: number, own: number | undefined): Promise<GuestDirectory> {
    if (depth > deepest) throw unsound(`'${path}' is more than ${deepest} directories deep`)
    const runs = this.#chains.take(entry.cluster, path)
    const clusters = runs.reduce((sum, { count }) => sum + count, 0)
    if (clusters * this.#clusterBytes > mostEntries * entrySize) throw unsound(`directory '${path}' is too long`)
    const bytes = new Uint8Array(clusters * this.#clusterBytes)
    let at = 0
    for (const { first, count } of runs) {
      const length = count * this.#clusterBytes
      await this.#read(offsetOf(this.#geometry, first), bytes.subarray(at, at + length))
      at += length
    }
    const below = path === '/' ? '' : path
    return {
      kind: 'directory',
      ...entry,
      entries: await this.#entries(readEntries(bytes, path, own), below, depth + 1),
    }
  }

  async #entries(entries: readonly ReadEntry[], path: string, depth: number): Promise<GuestEntry[]> {
    this.#found += entries.length
    if (this.#found > mostFiles) throw unsound(`there are more than ${mostFiles} files`)
    const found: GuestEntry[] = []
    for (const entry of entries) {
      const name = `${path}/${entry.name}`
      found.push(entry.isDirectory ? await this.#directory(entry, name, depth, entry.cluster) : this.#file(entry, name))
    }
    return found
  }

  #file(entry: ReadEntry, path: string): GuestFile {
    const needed = divUp(entry.size, this.#clusterBytes)
    const runs = entry.cluster === 0 ? [] : this.#chains.take(entry.cluster, path)
    const held = firstOf(runs, needed)
    if (held === undefined) throw unsound(`'${path}' has ${entry.size} bytes, and fewer clusters than they take`)
    return { kind: 'file', ...entry, runs: held }
  }
}

/** The runs of the first `clusters`; undefined where there are not so many. */
function firstOf(runs: readonly Run[], clusters: number): Run[] | undefined {
  const held: Run[] = []
  let left = clusters
  for (const { first, count } of runs) {
    if (left === 0) break
    held.push({ first, count: Math.min(count, left) })
    left -= Math.min(count, left)
  }
  return left === 0 ? held : undefined
}
