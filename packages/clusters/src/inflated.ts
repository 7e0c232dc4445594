/** Clusters as compression has them: whole. Those that were inflated last are kept, so that small reads of one inflate it once. */
import { unlessAborted } from '@diskgraph/core/driver'

/** A cluster that may end with the disk, with zeroes behind it. */
export function wholeCluster(data: Uint8Array, clusterSize: number): Uint8Array {
  if (data.length === clusterSize) return data
  const whole = new Uint8Array(clusterSize)
  whole.set(data)
  return whole
}

/** Bytes of them that are kept. */
const keptBytes = 2 ** 20

/** A cluster, or the work for it, with those who wait for it. */
interface Inflated {
  readonly bytes: Promise<Uint8Array>
  readonly ended: AbortController
  waiting: number
}

/** See the top of this file. */
export class InflatedClusters {
  /** By the place of their data in the file. */
  readonly #clusters = new Map<number, Inflated>()
  readonly #most: number

  constructor(clusterSize: number) {
    this.#most = Math.max(1, Math.floor(keptBytes / clusterSize))
  }

  /**
   * The cluster whose data stands at `place`: one that is kept, or what `inflate` gives. A failure is not kept. Work
   * that several wait for goes on until all of them have given up; who does so gets ECANCELED at once, and the last of
   * them when the work has ended: nothing of it may go on when nobody's request is under way any more.
   */
  async get(
    place: number,
    signal: AbortSignal | undefined,
    inflate: (signal: AbortSignal) => Promise<Uint8Array>,
  ): Promise<Uint8Array> {
    const clusters = this.#clusters
    let cluster = clusters.get(place)
    if (cluster === undefined) cluster = this.#begin(place, inflate)
    else {
      clusters.delete(place)
      clusters.set(place, cluster)
    }
    cluster.waiting++
    let isLast = false
    try {
      return await unlessAborted(cluster.bytes, signal, () => {
        isLast = --cluster.waiting === 0
        if (!isLast) return
        this.#forget(place, cluster)
        cluster.ended.abort(signal?.reason)
      })
    } finally {
      if (isLast) await cluster.bytes.catch(() => {})
    }
  }

  #begin(place: number, inflate: (signal: AbortSignal) => Promise<Uint8Array>): Inflated {
    const clusters = this.#clusters
    const ended = new AbortController()
    const cluster = { bytes: inflate(ended.signal), ended, waiting: 0 }
    clusters.set(place, cluster)
    cluster.bytes.catch(() => this.#forget(place, cluster))
    if (clusters.size > this.#most) {
      const [oldest] = clusters.keys()
      clusters.delete(oldest as number)
    }
    return cluster
  }

  #forget(place: number, cluster: Inflated): void {
    if (this.#clusters.get(place) === cluster) this.#clusters.delete(place)
  }

  /** Forgets all: clusters were freed and may hold other data soon. */
  clear(): void {
    this.#clusters.clear()
  }
}
