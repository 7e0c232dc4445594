export type { BlockedOperation, Blocker } from './blockers.ts'
export * from './bytes.ts'
export type { Change } from './change.ts'
export { type Clock, delay, type RandomSource, systemClock, systemRandom } from './clock.ts'
export * from './contexts.ts'
export * from './contract.ts'
export { validateAmend } from './create.ts'
export { DirtyBitmap, type DirtyRange } from './dirty-bitmap.ts'
export { Disk, type ExtentOptions } from './disk.ts'
export { type DefinedDriver, defineDriver, type SchemaOf, type SchemasOf } from './driver-definition.ts'
export * from './drivers.ts'
export { Edge } from './edge.ts'
export { emptyMedium } from './empty-medium.ts'
export * from './errors.ts'
export {
  directoryOf,
  fromQapi,
  jsonFilename,
  parseJsonFilename,
  protocolOf,
  resolveReference,
  toQapi,
  withoutCredentials,
} from './filenames.ts'
export type { ReferencePolicy } from './gate.ts'
export { Graph } from './graph.ts'
export * from './image-operations.ts'
export * from './names.ts'
export { Node, type WriteKind, type WriteNotifier } from './node.ts'
export * from './option-schema.ts'
export type { GraphRoot, Parent } from './parent.ts'
export { Passthrough } from './passthrough.ts'
export { describePermissions, type EdgePermissions } from './permissions.ts'
export { type RangeHold, RangeLock } from './range-lock.ts'
export type { DriverResolver, LazyDriver } from './registry.ts'
export { type RequestObserver, Root, type RootSettings } from './root.ts'
export type { GraphChange, GraphSettings, OpenSettings } from './settings.ts'
export {
  detectForeignFormat,
  foreignFooter,
  foreignFormat,
  headFormats,
  refuseForeignFormat,
  type SignatureReader,
  signatureHeadLength,
  signatureTailLength,
} from './signatures.ts'
export { parseSize } from './size.ts'
export type { RequestKind, RequestTotals, Statistics } from './statistics.ts'
export { chainStatus, type Extent } from './status.ts'
export { Transform } from './transform.ts'
export { validateOptions } from './validate.ts'
