/**
 * What few images need, and few programs do: stored bitmaps, checks, amendments, measuring. Loaded as one when the first
 * of it is asked for, so that a page, or a command that only reads, does without.
 */
export { amendImage } from './amend/amend.ts'
export { addBitmap, loadBitmaps, markInUse, removeBitmaps, storeBitmaps } from './bitmaps/store.ts'
export { checkImage, repairDirty } from './check/check.ts'
export { compactImage } from './compact/compact.ts'
export {
  encryptionHeaderSize,
  encryptionInfo,
  formatEncryption,
  openEncryption,
} from './encryption.ts'
export { mappingLost } from './mapping/lost.ts'
export { measureImage } from './measure.ts'
