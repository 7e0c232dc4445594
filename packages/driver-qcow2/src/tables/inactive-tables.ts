/** Finds the L2 tables of internal snapshots, for the strictest overlap check. */
import { alignUp, type ChildHandle } from '@diskgraph/core/driver'
import type { Geometry } from '../header/layout.ts'
import type { ClusterSet } from './cluster-set.ts'
import { addClustersOf, type FileRange } from './overlap.ts'
import { RootTable } from './root-table.ts'

/** Adds the clusters of all L2 tables that the given L1 tables point to; only what lies in the file is read. */
export async function loadInactiveL2(
  file: ChildHandle,
  geometry: Geometry,
  tables: readonly FileRange[],
  found: ClusterSet,
): Promise<void> {
  for (const { offset, length } of tables) {
    const inside = Math.min(alignUp(length, 8), Math.max(0, file.size - offset))
    const data = new Uint8Array(inside - (inside % 8))
    if (data.byteLength === 0) continue
    await file.read(offset, data)
    addClustersOf(found, new RootTable(offset, data), geometry.clusterSize)
  }
}
