/** Ciphers over sectors, LUKS volumes and secrets, for Node. */
export * from './library.ts'
export { nodePlatform as platform } from './platform-node.ts'
export { type SecretProperties, secretBytes } from './secrets.ts'
