/** Ciphers over sectors, LUKS volumes and secrets, for Node. */
import { imageEncryption } from './image-encryption.ts'
import { nodePlatform } from './platform-node.ts'

export * from './library.ts'
export { type SecretProperties, secretBytes } from './secrets.ts'

export { nodePlatform as platform }
/** See `image-encryption.ts`. */
export const encryption = imageEncryption(nodePlatform)
