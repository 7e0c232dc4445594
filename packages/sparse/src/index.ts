/** For authors of sparse formats. */

export { forEachLimited, Mutex, TaskPool, Yielder } from './concurrency.ts'
export { announce } from './events.ts'
export {
  type Allocations,
  type BackingFile,
  type ClusterChanges,
  type CompressedData,
  type DataCipher,
  type DataImage,
  type DataMap,
  Kind,
  type NewClusters,
  newRun,
  type Run,
  type ZeroSettings,
} from './image.ts'
export { type Allocation, InFlight } from './in-flight.ts'
export { InflatedClusters } from './inflated.ts'
export type { TableFile, TablePage } from './metadata-cache.ts'
export { neededClusters } from './needed-clusters.ts'
export { readBacking, readRange } from './read.ts'
export { SparseImage, type SparseParts } from './sparse-image.ts'
export { blockStatus } from './status.ts'
export { EntryTable, readTable } from './table.ts'
export { Place, type TableFormat, TableMap, type TakenClusters } from './table-format.ts'
export { TailSpace } from './tail-space.ts'
export { TwoLevelMap } from './two-level-map.ts'
export type { Meaning, TwoLevelFormat } from './two-level-tables.ts'
export { writeRange } from './write.ts'
export { zeroPart, zeroRange } from './zeroes.ts'
