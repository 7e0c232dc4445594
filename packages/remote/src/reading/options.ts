/** Options that all drivers of files on servers share: types, schemas, and what is checked before anything is sent. */
import { BlockError, type Clock, type OpenContext, type OptionSchemas } from '@diskgraph/core/driver'
import type { Address } from './address.ts'

/** Options of a node that shows a file on a server; QEMU's, and those of the way it is read. */
export interface ReadingOptions {
  /** Shortest transfer, in bytes; a multiple of 512. Default 256 KiB. 0: transfer what is asked for and keep nothing. */
  readahead?: number
  /** Seconds that a transfer may take, retries and waits included. Default 5. 0: no limit. */
  timeout?: number
  /** Seconds until a connection must stand. Default 5. */
  connectTimeout?: number
  /** Seconds without a byte from the server that end a transfer. Default 5. */
  idleTimeout?: number
  /** How often a transfer that broke off is tried again without any progress. Default 3. */
  retries?: number
  /** Transfers at the same time. Default 6. */
  connections?: number
  /** Bytes of finished transfers that are kept. Default 4 MiB. */
  cacheSize?: number
}

/** User name and password of a node. */
export interface CredentialOptions {
  /** User name for the server. */
  username?: string
  /** Id of the secret that holds the password. */
  passwordSecret?: string
}

/** Schema of {@link ReadingOptions}. */
export const readingOptions: OptionSchemas = {
  readahead: {
    type: 'integer',
    size: true,
    minimum: 0,
    maximum: 2 ** 30,
    default: 256 * 1024,
    description: 'Shortest transfer in bytes, a multiple of 512',
  },
  timeout: { type: 'integer', default: 5, description: 'Seconds that a transfer may take; 0 for no limit' },
  connectTimeout: {
    type: 'number',
    minimum: 0.001,
    maximum: 10000,
    default: 5,
    description: 'Seconds until a connection must stand',
  },
  idleTimeout: {
    type: 'number',
    minimum: 0.001,
    maximum: 10000,
    default: 5,
    description: 'Seconds without a byte from the server that end a transfer',
  },
  retries: {
    type: 'integer',
    minimum: 0,
    maximum: 100,
    default: 3,
    description: 'How often a transfer that broke off is tried again without progress',
  },
  connections: { type: 'integer', minimum: 1, maximum: 64, default: 6, description: 'Transfers at the same time' },
  cacheSize: {
    type: 'integer',
    size: true,
    minimum: 0,
    maximum: 2 ** 31,
    default: 4 * 2 ** 20,
    description: 'Bytes of finished transfers that are kept',
  },
}

/** Schema of {@link CredentialOptions}. */
export const credentialOptions: OptionSchemas = {
  username: { type: 'string', strong: true, description: 'User name for the server' },
  passwordSecret: { type: 'string', strong: true, description: 'Id of the secret that holds the password' },
}

/** {@link ReadingOptions} as {@link checkReading} leaves them: complete. */
export interface ReadingSettings {
  readonly readahead: number
  readonly cacheSize: number
  readonly connections: number
  readonly retries: number
  /** Times in milliseconds; infinite for no limit. */
  readonly timeout: number
  readonly connectTimeout: number
  readonly idleTimeout: number
  readonly clock: Clock
}

/** Longest `timeout`, in seconds. */
const maxTimeout = 10_000

/** The settings that options come to. EINVAL, with QEMU's texts, for options that are wrong. */
export function checkReading(context: OpenContext): ReadingSettings {
  const options = context.options as unknown as Required<ReadingOptions>
  const { readahead, timeout } = options
  if (readahead % 512 !== 0) {
    throw new BlockError('EINVAL', `HTTP_READAHEAD_SIZE ${readahead} is not a multiple of 512`)
  }
  if (timeout < 0 || timeout > maxTimeout) {
    throw new BlockError('EINVAL', 'timeout parameter is too large or negative')
  }
  return {
    clock: context.clock,
    readahead,
    cacheSize: readahead === 0 ? 0 : options.cacheSize,
    connections: options.connections,
    retries: options.retries,
    timeout: timeout === 0 ? Number.POSITIVE_INFINITY : timeout * 1000,
    connectTimeout: options.connectTimeout * 1000,
    idleTimeout: options.idleTimeout * 1000,
  }
}

/** The text of the secret called `id`; undefined without one. */
export function secretText(context: OpenContext, id: string | undefined): string | undefined {
  return id === undefined ? undefined : new TextDecoder().decode(context.secret(id))
}

/** User name and password: those of the options rather than those of the URL. EINVAL for a password alone. */
export function checkCredentials(context: OpenContext, address: Address): Credentials {
  const options = context.options as CredentialOptions
  const username = options.username ?? address.username
  const password = secretText(context, options.passwordSecret) ?? address.password
  if (password !== undefined && username === undefined) {
    throw new BlockError('EINVAL', 'a password needs a user name: give username')
  }
  return { username, password }
}

/** Who asks. */
export interface Credentials {
  readonly username: string | undefined
  readonly password: string | undefined
}
