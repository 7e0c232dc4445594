/** For authors of sparse formats. */

export { neededClusters } from '@diskgraph/clusters'
export { type BackingOptions, backingOptions, type NamePlace, readBackingName } from './backing-name.ts'
export { checkedRuns } from './checked-runs.ts'
export type { TableFile, TablePage } from './metadata-cache.ts'
export { SparseImage, type SparseParts } from './sparse-image.ts'
export { EntryTable, readTable } from './table.ts'
export { Place, type TableFormat, TableMap, type TakenClusters } from './table-format.ts'
export { TailSpace } from './tail-space.ts'
export { TwoLevelMap } from './two-level-map.ts'
export type { Meaning, TwoLevelFormat } from './two-level-tables.ts'
