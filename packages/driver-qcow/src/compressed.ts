/** Compressed clusters: raw deflate, of less than a cluster each. */

import { type CompressedData, InflatedClusters, type TaskPool, wholeCluster } from '@diskgraph/clusters'
import { rawDeflate } from '@diskgraph/codecs'
import { BlockError, type ChildHandle, isAligned, throwIfAborted } from '@diskgraph/core/driver'
import type { TwoLevelMap } from '@diskgraph/sparse'
import type { Clusters, CompressedPlace } from './clusters.ts'

/** See the top of this file. */
export class CompressedClusters implements CompressedData {
  readonly #clusters: Clusters
  readonly #map: TwoLevelMap
  readonly #file: ChildHandle
  readonly #inflated: InflatedClusters

  constructor(clusters: Clusters, map: TwoLevelMap) {
    this.#clusters = clusters
    this.#map = map
    this.#file = clusters.file
    this.#inflated = new InflatedClusters(clusters.clusterSize)
  }

  read(offset: number, buf: Uint8Array, pool: TaskPool, signal: AbortSignal | undefined): number {
    const { clusterSize } = this.#clusters
    const skip = offset % clusterSize
    const target = buf.subarray(0, clusterSize - skip)
    const { high, low } = this.#map.entryAt(offset)
    const place = this.#clusters.compressedPlace(high, low)
    const cluster = this.#inflated.get(place.offset, signal, (all) => this.#inflate(offset - skip, place, all))
    pool.add(cluster.then((bytes) => target.set(bytes.subarray(skip, skip + target.length))))
    return target.length
  }

  async #inflate(guest: number, { offset, length }: CompressedPlace, signal?: AbortSignal): Promise<Uint8Array> {
    try {
      if (length === 0 || !Number.isSafeInteger(offset + length) || offset + length > this.#file.size) {
        throw new BlockError('EIO', `${length} bytes at ${offset}, of a file of ${this.#file.size}`)
      }
      const data = new Uint8Array(length)
      await this.#file.read(offset, data, 0, signal)
      return await rawDeflate.inflate(data, this.#clusters.clusterSize)
    } catch (cause) {
      throwIfAborted(signal)
      throw new BlockError('EIO', `the compressed cluster of offset ${guest} cannot be read`, { cause })
    }
  }

  /**
   * Writes whole clusters; the last may end with the disk. EINVAL for parts of clusters, EIO where data stands already.
   * What does not become shorter is written by `plain`.
   */
  async write(
    offset: number,
    buf: Uint8Array,
    size: number,
    plain: (offset: number, buf: Uint8Array) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { clusterSize } = this.#clusters
    const end = offset + buf.length
    if (!isAligned(offset, clusterSize) || (!isAligned(end, clusterSize) && end !== size)) {
      throw new BlockError('EINVAL', `compressed writes need whole clusters of ${clusterSize} bytes`)
    }
    for (let at = 0; at < buf.length; at += clusterSize) {
      throwIfAborted(signal)
      const data = buf.subarray(at, at + clusterSize)
      const deflated = await rawDeflate.deflate(wholeCluster(data, clusterSize), clusterSize)
      if (deflated === undefined) await plain(offset + at, data)
      else await this.#store(offset + at, deflated)
    }
  }

  #store(guest: number, deflated: Uint8Array): Promise<void> {
    const occupied = `the cluster of offset ${guest} has data: it cannot be compressed over it`
    return this.#map.storeOnce(guest, occupied, async (allocation) => {
      const host = this.#clusters.takePacked(deflated.length)
      await this.#file.write(host, deflated)
      await this.#map.linkEntry(allocation, this.#clusters.compressedEntry({ offset: host, length: deflated.length }))
    })
  }
}
