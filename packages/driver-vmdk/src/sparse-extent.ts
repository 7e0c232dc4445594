/**
 * A sparse extent. Data reaches the file before the tables that point to it, and tables before the directories
 * (TwoLevelTables of @diskgraph/sparse), so that a crash leaves grains without use at worst.
 */

import { type BackingFile, Kind, newRun } from '@diskgraph/clusters'
import { BlockError, type CheckOptions, type ChildHandle, Flag, type ImageCheck } from '@diskgraph/core/driver'
import { checkedRuns, SparseImage, TwoLevelMap } from '@diskgraph/sparse'
import { CompressedGrains } from './compressed-grains.ts'
import type { Extent } from './extent.ts'
import { Grains } from './grains.ts'
import type { Header } from './header.ts'
import { sectorSize } from './layout.ts'

/** What a sparse extent is made from. */
interface SparseParts {
  readonly file: ChildHandle
  readonly header: Header
  /** Bytes of the disk. */
  readonly size: number
  readonly readOnly: boolean
  readonly namesBacking: boolean
  /** What it stands on, by its own offsets. */
  backing(): BackingFile | undefined
}

/** See the top of this file. */
export class SparseExtent extends SparseImage implements Extent {
  readonly about: { readonly clusterSize: number; readonly compressed?: boolean }
  readonly file: ChildHandle
  readonly #map: TwoLevelMap
  readonly #compressed: CompressedGrains | undefined

  constructor({ file, header, size, readOnly, namesBacking, backing }: SparseParts) {
    const grains = new Grains(file, header, () => !namesBacking && backing() === undefined)
    const map = new TwoLevelMap(grains)
    const compressed = header.compressed ? new CompressedGrains({ grains, map, header, size }) : undefined
    super({
      file,
      clusterSize: header.grainSize,
      size: () => size,
      readOnly,
      map,
      backing,
      namesBacking: () => namesBacking,
      ...(compressed === undefined ? {} : { compressed }),
    })
    this.about = { clusterSize: header.grainSize, ...(header.compressed ? { compressed: true } : {}) }
    this.file = file
    this.#map = map
    this.#compressed = compressed
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.#compressed === undefined) return super.write(offset, buf, flags, signal)
    return this.#compressed.write(offset, buf, signal)
  }

  override async writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.#compressed === undefined) return super.writeZeroes(offset, length, flags, signal)
    const run = newRun()
    for (let at = offset; at < offset + length; at += run.length) {
      await this.#map.find(at, offset + length - at, run)
      if (run.kind === Kind.unallocated && this.data.backing() === undefined && !this.data.namesBacking) continue
      if ((flags & Flag.NoFallback) !== 0)
        throw new BlockError('ENOTSUP', 'these zeroes would have to be written as data')
      await this.#compressed.write(at, new Uint8Array(run.length), signal)
    }
  }

  flush(): Promise<void> {
    return this.#map.flush()
  }

  async close(): Promise<void> {
    if (!this.data.readOnly) await this.flush()
  }

  /** Compares the tables with the file; what is wrong cannot be repaired. */
  async check(options: CheckOptions): Promise<ImageCheck> {
    const { clusterSize } = this.about
    let corruptions = 0
    let allocated = 0
    for await (const { offset, length, kind } of checkedRuns(this.#map, this.size, options)) {
      if (kind === Kind.damaged) {
        corruptions++
        options.onFinding?.('error', `ERROR: cluster offset for sector ${offset / sectorSize} points after EOF`)
      } else if (kind !== Kind.unallocated) allocated += Math.ceil(length / clusterSize)
    }
    const counts = { totalClusters: Math.ceil(this.size / clusterSize), allocatedClusters: allocated }
    return { checkErrors: 0, corruptions, leaks: 0, corruptionsFixed: 0, leaksFixed: 0, ...counts }
  }
}
