/** The mapping of a whole disk, as a check goes through it. */
import { Kind, newRun, Yielder } from '@diskgraph/clusters'
import type { CheckOptions } from '@diskgraph/core/driver'
import type { TwoLevelMap } from './two-level-map.ts'

/** Clusters of the disk that are all of one kind; `Kind.damaged` for what one damaged entry maps. */
interface CheckedRun {
  readonly offset: number
  readonly length: number
  readonly kind: number
}

/** All runs of a disk of `size` bytes, in their order. Rejects where the tables cannot be read; damage is a run. */
export async function* checkedRuns(
  map: TwoLevelMap,
  size: number,
  { onProgress, signal }: CheckOptions,
): AsyncGenerator<CheckedRun> {
  const run = newRun()
  const yielder = new Yielder(signal)
  for (let offset = 0, length = 0; offset < size; offset += length) {
    await yielder.step()
    onProgress?.(offset, size)
    await map.find(offset, size - offset, run).catch((error) => {
      // An error of the storage is none of the tables.
      map.peek(offset, size - offset, run)
      if (run.kind !== Kind.damaged) throw error
    })
    length = run.kind === Kind.damaged ? map.damageEnd(offset) - offset : run.length
    yield { offset, length, kind: run.kind }
  }
}
