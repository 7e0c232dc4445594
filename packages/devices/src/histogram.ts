/** How long requests took: counts by ranges of latency. */

import { BlockError } from '@diskgraph/core'

/** QAPI's BlockLatencyHistogramInfo: `bins` has one entry more than `boundaries` (nanoseconds). */
export interface LatencyHistogramInfo {
  readonly boundaries: readonly number[]
  readonly bins: readonly number[]
}

/** See the top of the file. */
export class LatencyHistogram {
  readonly #boundaries: readonly number[]
  readonly #bins: number[]

  /** `boundaries` in nanoseconds, rising and above 0. EINVAL for others. */
  constructor(boundaries: readonly number[]) {
    for (const [i, boundary] of boundaries.entries()) {
      if (Number.isSafeInteger(boundary) && boundary > (boundaries[i - 1] ?? 0)) continue
      throw new BlockError('EINVAL', 'the boundaries of a histogram rise from above 0', {
        hint: `boundary ${i} is ${String(boundary)}`,
      })
    }
    this.#boundaries = [...boundaries]
    this.#bins = Array.from({ length: boundaries.length + 1 }, () => 0)
  }

  /** Counts a request that took `ns` nanoseconds. A boundary belongs to the range above it. */
  add(ns: number): void {
    let [low, high] = [0, this.#boundaries.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (ns < (this.#boundaries[middle] as number)) high = middle
      else low = middle + 1
    }
    this.#bins[low] = (this.#bins[low] as number) + 1
  }

  info(): LatencyHistogramInfo {
    return { boundaries: this.#boundaries, bins: [...this.#bins] }
  }
}
