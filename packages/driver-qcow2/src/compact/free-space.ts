/** Free clusters below a limit, from the lowest on. What no refcount block describes is left alone. */
import { Yielder } from '@diskgraph/clusters'
import { alignUp, mod } from '@diskgraph/core/driver'
import type { Qcow2State } from '../state.ts'
import type { Batch } from './batch.ts'

/** See the top of this file. */
export class FreeSpace {
  readonly #state: Qcow2State
  readonly #yielder: Yielder
  /** In clusters. */
  readonly limit: number
  /** Where the search for so many clusters goes on. */
  readonly #next = new Map<number, number>()
  /** The compressed data that was placed last. */
  #last: { readonly from: number; readonly to: number; readonly length: number } | undefined

  constructor(state: Qcow2State, limit: number, signal: AbortSignal | undefined) {
    this.#state = state
    this.limit = limit
    this.#yielder = new Yielder(signal)
  }

  /** Takes `clusters` in a row with `count` references each, below cluster `end` at most; the first one, or -1. */
  async take(batch: Batch, clusters: number, count: number, end = this.limit): Promise<number> {
    const limit = Math.min(end, this.limit)
    let start = this.#next.get(clusters) ?? 0
    for (let at = start; at < limit && start + clusters <= limit; at++) {
      const turn = this.#yielder.step()
      if (turn !== undefined) await turn
      if (!(await this.#isFree(at))) start = at + 1
      else if (at + 1 - start === clusters) {
        this.#next.set(clusters, at + 1)
        await this.#count(batch, start, clusters, count)
        return start
      }
    }
    this.#next.set(clusters, start)
    return -1
  }

  /**
   * Takes `length` bytes for the compressed data at `from`, whose clusters get `count` references more. It goes behind
   * what was placed last, as close as it was, or else as far from the start of a sector: the last sector of
   * such data may hold the start of the next, and nobody knows where it ends. The offset, or -1.
   */
  async takeBytes(batch: Batch, from: number, length: number, count: number): Promise<number> {
    const { clusterSize } = this.#state.geometry
    const last = this.#last
    if (last !== undefined) {
      const near = from >= last.from && from <= last.from + last.length
      const to = near ? last.to + from - last.from : last.to + last.length + mod(from, 512)
      const end = Math.floor(from / clusterSize)
      if (await this.#extend(batch, { tail: last.to + last.length, to, length, end }, count)) {
        return this.#placed(from, to, length)
      }
    }
    const clusters = Math.ceil((mod(from, 512) + length) / clusterSize)
    const start = await this.take(batch, clusters, count, Math.floor(from / clusterSize))
    return start < 0 ? -1 : this.#placed(from, start * clusterSize + mod(from, 512), length)
  }

  /** Nothing is placed behind compressed data that was placed before. */
  leaveTail(): void {
    this.#last = undefined
  }

  #placed(from: number, to: number, length: number): number {
    this.#last = { from, to, length }
    return to
  }

  /** Takes the clusters of some bytes, below cluster `end`; those before `tail` are in use for such data already. */
  async #extend(
    batch: Batch,
    {
      tail,
      to,
      length,
      end,
    }: { readonly tail: number; readonly to: number; readonly length: number; readonly end: number },
    count: number,
  ): Promise<boolean> {
    const { refcounts, geometry } = this.#state
    const { clusterSize, maxRefcount } = geometry
    const first = Math.floor(to / clusterSize)
    const behind = Math.ceil((to + length) / clusterSize)
    if (behind > Math.min(end, this.limit)) return false
    const known = alignUp(tail, clusterSize) / clusterSize
    for (let at = first; at < behind; at++) {
      const fits = at < known ? (await refcounts.get(at)) + count <= maxRefcount : await this.#isFree(at)
      if (!fits) return false
    }
    await this.#count(batch, first, behind - first, count)
    return true
  }

  async #isFree(cluster: number): Promise<boolean> {
    const { refcounts, geometry } = this.#state
    if (refcounts.blockOffset(Math.floor(cluster / geometry.refcountBlockEntries)) === 0) return false
    const count = refcounts.peek(cluster)
    return (count < 0 ? await refcounts.get(cluster) : count) === 0
  }

  async #count(batch: Batch, cluster: number, clusters: number, count: number): Promise<void> {
    await this.#state.refcounts.update(cluster, clusters, count)
    batch.took(cluster, clusters, count)
  }
}
