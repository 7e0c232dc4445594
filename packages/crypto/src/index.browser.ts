/** Ciphers over sectors and LUKS volumes, for browsers. */
import { imageEncryption } from './image-encryption.ts'
import { browserPlatform } from './platform-browser.ts'

export * from './library.ts'

export { browserPlatform as platform }
/** See `image-encryption.ts`. */
export const encryption = imageEncryption(browserPlatform)
