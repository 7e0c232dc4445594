/** What is the same on every platform. */
export { openHttp } from './http/open.ts'
export {
  checkProxy,
  type ProxyOptions,
  proxyOptions,
  type RedirectOptions,
  redirectOptions,
  type TlsOptions,
  tlsOptions,
} from './http/options.ts'
export type { Authorizer, DigestHash, HttpSettings, RedirectRule } from './http/settings.ts'
export type { MakeTransport } from './http/transport.ts'
export { parseAddress } from './reading/address.ts'
export { type Environment, environment } from './reading/environment.ts'
export { openRemote, type RemoteSource } from './reading/image.ts'
export { Interruption } from './reading/interruption.ts'
export {
  type CredentialOptions,
  type Credentials,
  checkCredentials,
  checkReading,
  credentialOptions,
  type ReadingOptions,
  type ReadingSettings,
  readingOptions,
  secretText,
} from './reading/options.ts'
export type { Sink } from './reading/read-ahead.ts'
export { type Cursor, repeat } from './reading/repetition.ts'
export { Watchdog } from './reading/watchdog.ts'
