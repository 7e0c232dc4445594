/** For the programs and packages of this project, which change together with it: no promise is made about these. */

export { chainStatus } from './graph/extents.ts'
export { backingReference, imageFilename, referredFilename, shownFilename } from './graph/node-filename.ts'
export { type Inspect, inspected, inspection, kindOf } from './inspection.ts'
export { warningOfGuess } from './opening/guess.ts'
export {
  foreignFooter,
  foreignFormat,
  headFormats,
  signatureHeadLength,
  signatureTailLength,
} from './opening/signatures.ts'
export {
  fromQapi,
  parseJsonFilename,
  protocolOf,
  resolveLiteral,
  resolveReference,
  toQapi,
} from './options/filenames.ts'
export { inQemuOrder } from './options/member-order.ts'
export * from './options/names.ts'
export * from './options/settings.ts'
export { validateAmend } from './options/validate.ts'
export { TimeSlice } from './time-slice.ts'
