/**
 * Replacing several tables of an image at once.
 *
 * New tables are written to clusters that nothing points to; when all of them are safe, one write of the header puts
 * them in charge. A crash leaves either all old or all new tables in charge; what the others take is leaked at worst.
 */
import type { Header } from '../header/header.ts'
import type { Qcow2State } from '../state.ts'

/** Clusters that a change has taken and nothing points to yet. */
export class Claims {
  private readonly state: Qcow2State
  private readonly ranges: { readonly start: number; count: number }[] = []

  constructor(state: Qcow2State) {
    this.state = state
  }

  /** Takes contiguous clusters and returns the offset of the first. Under the mutex. */
  async allocate(clusters: number): Promise<number> {
    const { allocator, geometry } = this.state
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
    for (const { start, count } of this.ranges.splice(0)) await this.state.release(start, count)
    await this.state.store.writeRefcounts().catch(() => undefined)
  }
}

/**
 * Makes everything written so far safe, then changes the header to `changes`, in one write. When that fails the old
 * header is put back, now or before the next change of metadata.
 */
export async function switchHeader(state: Qcow2State, changes: Partial<Header>): Promise<void> {
  const { header, store } = state
  await store.flushFile()
  try {
    await header.setTables(changes)
  } catch (error) {
    await header.restore().catch(() => undefined)
    throw error
  }
}
