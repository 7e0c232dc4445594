/** What is the same on every platform. */

export { type CipherSpec, keySizeOf } from './cipher-spec.ts'
export type { EncryptionHost, EncryptionOptions, ImageEncryption } from './image-encryption.ts'
export type { HeaderStorage, KeyTools } from './key-slots.ts'
export { hasLuksMagic, keySlotCount, type Luks1Facts, type Luks1Header } from './luks1-header.ts'
export {
  formatLuks,
  type LuksSettings,
  type LuksVolume,
  luksChoices,
  luksHeaderSize,
  luksInfo,
  openLuks,
  readLuks1Facts,
  readLuks1Header,
} from './luks1-volume.ts'
export { type Luks2Header, readLuks2Header } from './luks2-header.ts'
export { luks2Info, openLuks2 } from './luks2-volume.ts'
export type { BlockCipher, CipherAlgorithm, HashAlgorithm, Platform } from './platform.ts'
export { SectorCipher } from './sector-cipher.ts'
export { type SlotOptions, slotChange } from './slot-options.ts'
