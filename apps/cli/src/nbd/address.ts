import type { SocketAddress } from '@diskgraph/nbd'
import type { NbdRequest } from './request.ts'

const defaultPort = 10809

/** Where the request's server listens. */
export function listenAddress({ socket, bind, port }: NbdRequest): SocketAddress {
  return socket === undefined ? { host: bind ?? '0.0.0.0', port: port ?? defaultPort } : { path: socket }
}
