/** Clusters that a change of tables has taken and nothing points to yet. Under the image's mutex. */
import type { Geometry } from '../header/layout.ts'
import type { MetadataStore } from '../tables/metadata.ts'
import type { Allocator } from './allocator.ts'

/** What claims need of an image. */
interface ClaimedImage {
  readonly geometry: Geometry
  readonly store: MetadataStore
  readonly allocator: Allocator
  release(start: number, count: number): Promise<void>
}

/** See the top of this file. */
export class Claims {
  private readonly image: ClaimedImage
  private readonly ranges: { readonly start: number; count: number }[] = []

  constructor(image: ClaimedImage) {
    this.image = image
  }

  /** Takes contiguous clusters and returns the offset of the first. */
  async allocate(clusters: number): Promise<number> {
    const { allocator, geometry } = this.image
    let offset = allocator.tryAllocate(clusters)
    if (offset < 0) offset = await allocator.allocate(clusters)
    const start = offset / geometry.clusterSize
    const last = this.ranges.at(-1)
    if (last !== undefined && last.start + last.count === start) last.count += clusters
    else this.ranges.push({ start, count: clusters })
    return offset
  }

  /** The change has failed: gives everything back. What cannot be given back is leaked. */
  async giveBack(): Promise<void> {
    for (const { start, count } of this.ranges.splice(0)) await this.image.release(start, count)
    await this.image.store.writeRefcounts().catch(() => undefined)
  }
}
