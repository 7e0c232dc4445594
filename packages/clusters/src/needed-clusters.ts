/** How much room content needs, for `measure`. */
import type { MeasureRequest } from '@diskgraph/core/driver'

/** Runs of whole clusters that hold data: guest offsets, in order, each cluster once. */
export async function* neededClusters(
  extents: MeasureRequest['extents'],
  clusterSize: number,
): AsyncGenerator<{ readonly start: number; readonly end: number }> {
  let counted = 0
  for await (const { offset, length, data, zero } of extents ?? []) {
    if (!data || zero) continue
    const start = Math.max(counted, Math.floor(offset / clusterSize) * clusterSize)
    const end = Math.ceil((offset + length) / clusterSize) * clusterSize
    if (end > start) yield { start, end }
    counted = Math.max(counted, end)
  }
}
