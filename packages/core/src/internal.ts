/** For the programs and packages of this project, which change together with it: no promise is made about these. */

export { imageFilename } from './graph/node-filename.ts'
export { validateAmend } from './opening/create.ts'
export {
  detectForeignFormat,
  foreignFooter,
  foreignFormat,
  headFormats,
  refuseForeignFormat,
  type SignatureReader,
  signatureHeadLength,
  signatureTailLength,
} from './opening/signatures.ts'
export { directoryOf, fromQapi, parseJsonFilename, protocolOf, resolveReference, toQapi } from './options/filenames.ts'
export * from './options/names.ts'
export { chainStatus } from './request/status.ts'
