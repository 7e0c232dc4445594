/** Options of `nbd` nodes: types, schemas, and the server that they name. */
import { BlockError, type OptionSchemas, portNumber } from '@diskgraph/core/driver'
import type { SocketAddress } from '@diskgraph/nbd'

/** Where a server listens, as QAPI's SocketAddress has it. */
export type NbdServerAddress =
  | { type: 'inet'; host: string; port: string; ipv4?: boolean; ipv6?: boolean; numeric?: boolean; keepAlive?: boolean }
  | { type: 'unix'; path: string }
  /** A connected socket that the process has inherited, by its number. */
  | { type: 'fd'; str: string }

/** Options of an `nbd` node. */
export interface NbdOptions {
  server?: NbdServerAddress
  /** Name of the export. Default: the empty name, which stands for the server's default. */
  export?: string
  /** Id of the object with TLS credentials; without it there is no TLS. */
  tlsCreds?: string
  /** Name that the server's certificate must have, where it is not that of the host. */
  tlsHostname?: string
  /** Metadata context that is shown instead of `base:allocation`. */
  xDirtyBitmap?: string
  /** Seconds that requests wait for a lost connection to come back. Default 0: they fail. */
  reconnectDelay?: number
  /** Seconds to go on trying while the server cannot be reached at first. Default 0. */
  openTimeout?: number
  /** Old form of `server`. */
  path?: string
  /** Old form of `server`. */
  host?: string
  /** Old form of `server`. Default 10809. */
  port?: string
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    nbd: { open: NbdOptions }
  }
}

const defaultPort = '10809'

const serverVariants: Readonly<Record<string, OptionSchemas>> = {
  inet: {
    host: { type: 'string', required: true, description: 'host name or address' },
    port: { type: 'string', required: true, description: 'port' },
    numeric: { type: 'boolean', description: 'the host is an address' },
    keepAlive: { type: 'boolean', description: 'send keep-alives' },
    ipv4: { type: 'boolean', description: 'use IPv4' },
    ipv6: { type: 'boolean', description: 'use IPv6' },
  },
  unix: { path: { type: 'string', required: true, description: 'path of the socket' } },
  fd: { str: { type: 'string', required: true, description: 'number of an inherited, connected socket' } },
}

/** Schema of {@link NbdOptions}. */
export const nbdOptions: OptionSchemas = {
  server: { type: 'union', tag: 'type', variants: serverVariants, strong: true, description: 'where the server is' },
  export: { type: 'string', strong: true, description: 'name of the export' },
  tlsCreds: { type: 'string', strong: true, description: 'id of the TLS credentials' },
  tlsHostname: { type: 'string', strong: true, description: "name in the server's certificate, if not the host's" },
  xDirtyBitmap: { type: 'string', strong: true, description: 'metadata context to show as block status' },
  reconnectDelay: {
    type: 'integer',
    minimum: 0,
    maximum: 2 ** 32 - 1,
    default: 0,
    description: 'seconds that requests wait for a lost connection',
  },
  openTimeout: {
    type: 'integer',
    minimum: 0,
    maximum: 2 ** 32 - 1,
    default: 0,
    description: 'seconds to go on trying to connect at first',
  },
  path: { type: 'string', strong: true, description: 'path of a unix socket, short for server' },
  host: { type: 'string', strong: true, description: 'host, short for server' },
  port: { type: 'string', strong: true, description: 'port, short for server' },
}

/** The server that options name, in whichever form. EINVAL, with QEMU's texts, when they name none or two. */
export function serverOf({ server, path, host, port }: NbdOptions): NbdServerAddress {
  if (server !== undefined) {
    if ((path ?? host ?? port) === undefined) return server
    throw new BlockError('EINVAL', "Cannot use 'server' and path/host/port at the same time")
  }
  if (path !== undefined && host !== undefined) {
    throw new BlockError('EINVAL', 'path and host may not be used at the same time')
  }
  if (path !== undefined) {
    if (port !== undefined) throw new BlockError('EINVAL', 'port may not be used without host')
    return { type: 'unix', path }
  }
  if (host !== undefined) return { type: 'inet', host, port: port ?? defaultPort }
  if (port !== undefined) throw new BlockError('EINVAL', 'port may not be used without host')
  throw new BlockError('EINVAL', 'NBD server address missing')
}

/** The address as sockets take it. EINVAL for a port or a descriptor that is none. */
export function socketAddress(server: NbdServerAddress): SocketAddress {
  switch (server.type) {
    case 'unix':
      return { path: server.path }
    case 'fd': {
      const fd = Number(server.str)
      if (/^\d+$/.test(server.str) && fd < 2 ** 20) return { fd }
      throw new BlockError('EINVAL', `File descriptor '${server.str}' is not a number of a descriptor`)
    }
    case 'inet': {
      const { host, ipv4, ipv6 } = server
      const family = ipv6 === false || (ipv4 && !ipv6) ? 4 : ipv4 === false || (ipv6 && !ipv4) ? 6 : undefined
      const port = portNumber(server.host, server.port, services)
      return family === undefined ? { host, port } : { host, port, family }
    }
  }
}

/** Services that people name in place of ports. */
const services: Readonly<Record<string, number>> = { nbd: 10809 }
