/** Discards of formats that keep their clusters. */
import { type DataMap, Kind, newRun } from '@diskgraph/clusters'
import type { ChildHandle } from '@diskgraph/core/driver'

/** Passes a discard of what `map` has in `file` on to it. */
export async function discardMapped(
  map: DataMap,
  file: Pick<ChildHandle, 'discard'>,
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const run = newRun()
  for (let at = offset; at < offset + length; at += run.length) {
    await map.find(at, offset + length - at, run)
    if (run.kind === Kind.normal) await file.discard(run.host, run.length, signal)
  }
}
