/** Reading compressed clusters: raw deflate. */
import { BlockError, type ChildHandle } from '@diskgraph/core/driver'
import type { CompressedData, TaskPool, TwoLevelMap } from '@diskgraph/sparse'
import type { Header } from './header.ts'

/** Inflates to exactly `size` bytes; rejects for data that is damaged, or comes to less. What follows is left alone. */
export type Inflate = (data: Uint8Array, size: number) => Promise<Uint8Array>

/** Clusters that are kept, so that small reads of one inflate it once. */
const most = 16

/** See the top of this file. */
export class CompressedClusters implements CompressedData {
  readonly #file: ChildHandle
  readonly #map: TwoLevelMap
  readonly #header: Header
  readonly #inflate: Inflate
  /** Those that were inflated last, by their place in the file. */
  readonly #inflated = new Map<number, Promise<Uint8Array>>()

  constructor(file: ChildHandle, map: TwoLevelMap, header: Header, inflate: Inflate) {
    this.#file = file
    this.#map = map
    this.#header = header
    this.#inflate = inflate
  }

  read(offset: number, buf: Uint8Array, pool: TaskPool, signal: AbortSignal | undefined): number {
    const { clusterBits } = this.#header
    const clusterSize = 2 ** clusterBits
    const skip = offset % clusterSize
    const target = buf.subarray(0, Math.min(clusterSize - skip, buf.length))
    const { high, low } = this.#map.entryAt(offset)
    // Of the 63 lower bits the upper ones are the length.
    const lengthUnit = 2 ** (31 - clusterBits)
    const length = Math.floor((high - 2 ** 31) / lengthUnit)
    const host = ((high - 2 ** 31) % lengthUnit) * 2 ** 32 + low
    pool.add(
      this.#cluster(host, length, signal).then((cluster) => target.set(cluster.subarray(skip, skip + target.length))),
    )
    return target.length
  }

  #cluster(host: number, length: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const known = this.#inflated.get(host)
    if (known !== undefined) return known
    const cluster = this.#load(host, length, signal)
    this.#inflated.set(host, cluster)
    cluster.catch(() => this.#inflated.delete(host))
    if (this.#inflated.size > most) {
      const [oldest] = this.#inflated.keys()
      this.#inflated.delete(oldest as number)
    }
    return cluster
  }

  async #load(host: number, length: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const damaged = (cause?: unknown): BlockError => {
      return new BlockError('EIO', `the compressed cluster at ${host} of the file is damaged`, { cause })
    }
    if (!Number.isSafeInteger(host) || host + length > this.#file.size) throw damaged()
    const data = new Uint8Array(length)
    await this.#file.read(host, data, 0, signal)
    return this.#inflate(data, 2 ** this.#header.clusterBits).catch((cause) => {
      throw damaged(cause)
    })
  }
}
