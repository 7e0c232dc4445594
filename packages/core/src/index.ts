/** For applications: make a graph, open and make images, change what stands between them. */

export { type Clock, type RandomSource, systemClock, systemRandom } from './clock.ts'
export {
  type BlockEvent,
  type BlockStatus,
  type CacheOptions,
  type ChildRole,
  Flag,
  type Limits,
  Permission,
  type Preallocation,
  type ReferenceVerdict,
  type TruncateOptions,
} from './contract/contract.ts'
export type { DriverDescriptor } from './contract/descriptor.ts'
export type {
  BaseOptions,
  Child,
  CreateOptions,
  FilterOptions,
  NodeOptions,
  OptionalChild,
} from './contract/drivers.ts'
export * from './contract/image-operations.ts'
export { DirtyBitmap, type DirtyRange } from './dirty-bitmap.ts'
export {
  BlockError,
  type BlockErrorOptions,
  describeErrorCode,
  type ErrorCode,
  errorCodeOf,
  errorCodes,
  isBlockError,
} from './errors.ts'
export type { BlockGraph, BlockGraphSettings } from './graph/block-graph.ts'
export type { BlockedOperation, Blocker } from './graph/blockers.ts'
export type { Change, Definition } from './graph/change.ts'
export { type AttachSettings, Disk, type DiskGraph, type ExtentOptions } from './graph/disk.ts'
export { Edge } from './graph/edge.ts'
export type { Extent } from './graph/extents.ts'
export { type GraphEdge, type GraphRoot, Node, type Parent } from './graph/node.ts'
export type { GraphChange } from './graph/node-table.ts'
export { describePermissions, type EdgePermissions } from './graph/permissions.ts'
export { type RequestObserver, Root, type RootSettings } from './graph/root.ts'
export type { ReferencePolicy } from './opening/gate.ts'
export { Graph } from './opening/graph.ts'
export type { DriverResolver, LazyDriver } from './opening/registry.ts'
export type { GraphSettings, OpenSettings } from './opening/settings.ts'
export type { WriteKind, WriteNotifier } from './request/layer.ts'
export type { RequestKind, RequestTotals, Statistics } from './request/statistics.ts'
