/** {@link index.ts} for browsers: HTTP by fetch. */
export { fetchTransport as httpTransport } from './http/fetch-transport.ts'
export { webHash as httpHash } from './http/web-hash.ts'
export * from './portable.ts'
