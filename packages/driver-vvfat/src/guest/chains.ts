/** The FAT as a guest left it: chains of clusters, each of which belongs to one file or directory at most. */
import { BlockError } from '@diskgraph/core/driver'
import type { Run } from '../disk/fat.ts'
import { firstCluster, type Geometry, placesOf, sectorSize } from '../disk/geometry.ts'

/** Reads the disk as the guest sees it. Whole sectors. */
export type ReadDisk = (offset: number, buf: Uint8Array) => Promise<void>

/** See the top of the file. */
export class Chains {
  readonly #next: Uint32Array
  readonly #used: Uint8Array
  readonly #lastMark: number

  private constructor(next: Uint32Array, lastMark: number) {
    this.#next = next
    this.#used = new Uint8Array(next.length)
    this.#lastMark = lastMark
  }

  static async read(geometry: Geometry, read: ReadDisk): Promise<Chains> {
    const { fatType, clusters, fatSectors } = geometry
    const bytes = new Uint8Array(fatSectors * sectorSize)
    const step = 2 ** 20
    for (let at = 0; at < bytes.length; at += step) {
      await read(placesOf(geometry).fat + at, bytes.subarray(at, at + step))
    }
    const view = new DataView(bytes.buffer)
    const next = new Uint32Array(clusters + firstCluster)
    for (let n = 0; n < next.length; n++) next[n] = entryAt(view, n, fatType)
    return new Chains(next, fatType === 32 ? 0x0ffffff8 : 2 ** fatType - 8)
  }

  /** The chain from `first` on, which belongs to `owner` from now on. EIO when it is none, or somebody else's. */
  take(first: number, owner: string): Run[] {
    const runs: { first: number; count: number }[] = []
    for (let cluster = first; ; ) {
      if (cluster < firstCluster || cluster >= this.#next.length) {
        throw unsound(`'${owner}' has a cluster ${cluster}, which there is not`)
      }
      if (this.#used[cluster] !== 0) throw unsound(`cluster ${cluster} of '${owner}' is used twice`)
      this.#used[cluster] = 1
      const run = runs.at(-1)
      if (run !== undefined && run.first + run.count === cluster) run.count++
      else runs.push({ first: cluster, count: 1 })
      const next = this.#next[cluster] as number
      if (next >= this.#lastMark) return runs
      cluster = next
    }
  }

  /** Whether a file or directory that was found uses a cluster. */
  isUsed(cluster: number): boolean {
    return this.#used[cluster] === 1
  }

  /** Whether the FAT says that a cluster is in use, and no file or directory that was found uses it. */
  isLost(cluster: number): boolean {
    return this.#next[cluster] !== 0 && this.#used[cluster] === 0
  }
}

/** The error of a file system that is not as it should be. */
export function unsound(reason: string): BlockError {
  return new BlockError('EIO', reason)
}

function entryAt(view: DataView, n: number, fatType: Geometry['fatType']): number {
  if (fatType === 16) return view.getUint16(2 * n, true)
  if (fatType === 32) return view.getUint32(4 * n, true) & 0x0fffffff
  const pair = view.getUint16(n + (n >> 1), true)
  return n % 2 === 0 ? pair & 0xfff : pair >> 4
}
