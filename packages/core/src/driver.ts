/** For authors of drivers: the contract, the base classes that keep it, and the arithmetic that every driver does. */

export * from './bytes.ts'
export { type Clock, delay, type RandomSource, systemClock, systemRandom } from './clock.ts'
export * from './contract/contexts.ts'
export * from './contract/contract.ts'
export * from './contract/descriptor.ts'
export * from './contract/drivers.ts'
export * from './contract/image-operations.ts'
export * from './contract/option-schema.ts'
export { Passthrough } from './contract/passthrough.ts'
export { Transform } from './contract/transform.ts'
export { DirtyBitmap, type DirtyRange } from './dirty-bitmap.ts'
export {
  abortedError,
  BlockError,
  type BlockErrorOptions,
  describeErrorCode,
  type ErrorCode,
  errorCodeOf,
  errorCodes,
  isBlockError,
  throwIfAborted,
  toBlockError,
} from './errors.ts'
export { emptyMedium } from './graph/node.ts'
export { jsonFilename, withoutCredentials } from './options/filenames.ts'
export { parseSize } from './options/size.ts'
export { validateOptions } from './options/validate.ts'
export { type RangeHold, RangeLock } from './request/range-lock.ts'
