/** The clusters that were inflated last, so that small reads of a compressed cluster inflate it once. */

const cachedBytes = 1024 * 1024

/** See the top of this file. */
export class CompressedCache {
  private readonly limit: number
  private readonly clusters = new Map<number, Promise<Uint8Array>>()

  constructor(clusterSize: number) {
    this.limit = Math.max(1, Math.floor(cachedBytes / clusterSize))
  }

  /** The cluster whose data starts at `offset` in the file, inflated by `inflate` unless it is at hand. */
  get(offset: number, inflate: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const known = this.clusters.get(offset)
    if (known !== undefined) {
      this.clusters.delete(offset)
      this.clusters.set(offset, known)
      return known
    }
    const cluster = inflate()
    this.clusters.set(offset, cluster)
    cluster.catch(() => {
      if (this.clusters.get(offset) === cluster) this.clusters.delete(offset)
    })
    if (this.clusters.size > this.limit) {
      const [oldest] = this.clusters.keys()
      this.clusters.delete(oldest!)
    }
    return cluster
  }

  /** Forgets everything: clusters were freed and may hold other data soon. */
  clear(): void {
    this.clusters.clear()
  }
}
