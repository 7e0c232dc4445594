/** For authors of drivers that map clusters in a way of their own. */

export { forEachLimited, Gate, Mutex, TaskPool, Yielder } from './concurrency.ts'
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
export { InflatedClusters, wholeCluster } from './inflated.ts'
export { neededClusters } from './needed-clusters.ts'
export { readBacking, readRange } from './read.ts'
export { blockStatus } from './status.ts'
export { writeRange } from './write.ts'
export { zeroPart, zeroRange } from './zeroes.ts'
