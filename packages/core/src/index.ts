export * from './bytes.ts'
export * from './contract.ts'
export { validateAmend } from './create.ts'
export { DirtyBitmap } from './dirty-bitmap.ts'
export { Disk, type ExtentOptions } from './disk.ts'
export * from './drivers.ts'
export { Edge } from './edge.ts'
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
export { Graph, type GraphSettings, type OpenSettings } from './graph.ts'
export * from './image-operations.ts'
export * from './names.ts'
export { Node, type WriteKind, type WriteNotifier } from './node.ts'
export * from './option-schema.ts'
export { Passthrough } from './passthrough.ts'
export { describePermissions } from './permissions.ts'
export { type RangeHold, RangeLock } from './range-lock.ts'
export type { DriverResolver, LazyDriver } from './registry.ts'
export { Root, type RootSettings } from './root.ts'
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
export type { RequestTotals, Statistics } from './statistics.ts'
export { chainStatus, type Extent } from './status.ts'
export { validateOptions } from './validate.ts'
