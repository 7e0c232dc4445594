/** Files on servers: the parts that drivers of them share. In browsers `index.browser.ts` stands for it. */
export { nodeHash as httpHash } from './http/node-hash.ts'
export { nodeTransport as httpTransport } from './http/node-transport.ts'
export * from './portable.ts'
export { readCertificates } from './reading/certificates.ts'
export { networkError } from './reading/network-errors.ts'
