/** Options of `ssh` nodes. */
import { BlockError, type OptionSchemas } from '@diskgraph/core/driver'

/** Where a server listens. */
export interface SshServerAddress {
  host: string
  port: string
}

/** How the key of the server is checked. */
export type HostKeyCheck =
  /** Anybody who answers is believed. */
  | { mode: 'none' }
  /** The key has this fingerprint, in hexadecimal digits with or without colons. */
  | { mode: 'hash'; type: 'md5' | 'sha1' | 'sha256'; hash: string }
  /** Default: the key stands in `~/.ssh/known_hosts` or `/etc/ssh/ssh_known_hosts`. */
  | { mode: 'known_hosts' }

/** Options of an `ssh` node. */
export interface SshOptions {
  server?: SshServerAddress
  /** Path of the file on the server. */
  path: string
  /** Default: the name of the user who runs this. */
  user?: string
  hostKeyCheck?: HostKeyCheck
  /** Old form of `server`. */
  host?: string
  /** Old form of `server`. Default 22. */
  port?: string
}

/** What a new file needs. */
export interface SshCreateOptions extends SshOptions {
  /** In bytes. */
  size: number
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    ssh: { open: SshOptions; create: SshCreateOptions }
  }
}

const hashVariant: OptionSchemas = {
  type: { type: 'enum', values: ['md5', 'sha1', 'sha256'], required: true, description: 'kind of the fingerprint' },
  hash: { type: 'string', required: true, description: 'fingerprint in hexadecimal digits' },
}

/** Schema of {@link SshOptions}. */
export const sshOptions: OptionSchemas = {
  server: {
    type: 'object',
    strong: true,
    properties: {
      host: { type: 'string', required: true, description: 'host name or address' },
      port: { type: 'string', required: true, description: 'port' },
    },
    description: 'where the server is',
  },
  path: { type: 'string', required: true, strong: true, description: 'path of the file on the server' },
  user: { type: 'string', strong: true, description: 'user on the server' },
  hostKeyCheck: {
    type: 'union',
    tag: 'mode',
    variants: { none: {}, hash: hashVariant, known_hosts: {} },
    description: "how the server's key is checked",
  },
  host: { type: 'string', strong: true, description: 'host, short for server' },
  port: { type: 'string', strong: true, description: 'port, short for server' },
}

/** Schema of {@link SshCreateOptions}. */
export const sshCreateOptions: OptionSchemas = {
  ...sshOptions,
  size: { type: 'integer', size: true, required: true, minimum: 0, description: 'Virtual disk size' },
}

const defaultPort = '22'

/** The server that options name, in whichever form. EINVAL, with QEMU's texts, when they name none or two. */
export function serverOf({ server, host, port }: SshOptions): SshServerAddress {
  if (server !== undefined) {
    if ((host ?? port) === undefined) return server
    throw new BlockError('EINVAL', "Cannot use 'server' and host/port at the same time")
  }
  if (host === undefined) throw new BlockError('EINVAL', "Parameter 'server' is missing")
  return { host, port: port ?? defaultPort }
}
