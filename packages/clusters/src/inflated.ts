/** Clusters as compression has them: whole. Those that were inflated last are kept, so that small reads of one inflate it once. */

/** A cluster that may end with the disk, with zeroes behind it. */
export function wholeCluster(data: Uint8Array, clusterSize: number): Uint8Array {
  if (data.length === clusterSize) return data
  const whole = new Uint8Array(clusterSize)
  whole.set(data)
  return whole
}

/** Bytes of them that are kept. */
const keptBytes = 2 ** 20

/** See the top of this file. */
export class InflatedClusters {
  /** By the place of their data in the file. */
  readonly #clusters = new Map<number, Promise<Uint8Array>>()
  readonly #most: number

  constructor(clusterSize: number) {
    this.#most = Math.max(1, Math.floor(keptBytes / clusterSize))
  }

  /** The cluster whose data stands at `place`: one that is kept, or what `inflate` gives. A failure is not kept. */
  get(place: number, inflate: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const clusters = this.#clusters
    const known = clusters.get(place)
    if (known !== undefined) {
      clusters.delete(place)
      clusters.set(place, known)
      return known
    }
    const cluster = inflate()
    clusters.set(place, cluster)
    cluster.catch(() => {
      if (clusters.get(place) === cluster) clusters.delete(place)
    })
    if (clusters.size > this.#most) {
      const [oldest] = clusters.keys()
      clusters.delete(oldest as number)
    }
    return cluster
  }

  /** Forgets all: clusters were freed and may hold other data soon. */
  clear(): void {
    this.#clusters.clear()
  }
}
