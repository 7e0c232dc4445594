/** NBD: serve disks of a graph, and use those that others serve. */
export { NbdClient } from './client/client.ts'
export { type ListedExport, listExports } from './client/listing.ts'
export type {
  ExportInfo,
  HandshakeSettings,
  ListSettings,
  NbdClientSettings,
  StatusRun,
  TlsClient,
} from './client/settings.ts'
export {
  claimSocketPath,
  connectSocket,
  inheritedSockets,
  listen,
  listenPrivately,
  type NbdListener,
  type SocketAddress,
} from './node/node-net.ts'
export { type Authorizer, type TlsCredentialSettings, TlsCredentials } from './node/node-tls.ts'
export { addTlsObject, type ObjectHost, tlsObjectTypes } from './node/objects.ts'
export type { ExportSettings, NbdExport } from './server/export.ts'
export type { ExportTable } from './server/export-table.ts'
export type { TlsServer } from './server/negotiation.ts'
export { NbdServer, type NbdServerSettings } from './server/server.ts'
export type { ByteDuplex } from './stream/byte-duplex.ts'
export { AllocationState, CommandFlag, TransmissionFlag } from './wire/protocol.ts'
