/** Options of the driver: types and schemas. */

import type { Child, OptionSchema, OptionSchemas, SchemasOf } from '@diskgraph/core/driver'
import { type LuksSettings, luksChoices } from '@diskgraph/crypto'

/** Options of a `luks` node. */
export interface LuksOptions {
  /** Where the volume stands. */
  file: Child
  /** Id of the secret that holds a password. Only `info` does without. */
  keySecret?: string
}

/** Settings of a new volume; the names are QEMU's. */
export interface LuksCreateOptions extends LuksSettings {
  file: Child
  /** Virtual size in bytes; rounded up to a multiple of 512. */
  size: number
  /** Id of the secret that holds the password of slot 0. */
  keySecret?: string
  /** Passed on to the storage. Default `off`. */
  preallocation?: 'off' | 'metadata' | 'falloc' | 'full'
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    luks: { open: LuksOptions; create: LuksCreateOptions }
  }
}

/** Schema of {@link LuksOptions}. */
export const openOptions = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where the volume stands' },
  keySecret: { type: 'string', strong: true, description: 'ID of the secret that provides a password' },
} as const satisfies SchemasOf<LuksOptions>

const choice = <T extends string>(name: string, values: readonly T[], description: string) =>
  ({ type: 'enum', values, commandLine: name, description }) as const satisfies OptionSchema

const iterTime = {
  type: 'integer',
  minimum: 0,
  commandLine: 'iter-time',
  description: 'Time to spend in PBKDF in milliseconds',
} as const satisfies OptionSchema

/** Schema of {@link LuksCreateOptions}. */
export const createOptions: SchemasOf<LuksCreateOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
  size: { type: 'integer', size: true, minimum: 0, required: true, description: 'Virtual disk size' },
  keySecret: {
    type: 'string',
    commandLine: 'key-secret',
    description: 'ID of the secret that provides the keyslot passphrase',
  },
  cipherAlg: choice('cipher-alg', luksChoices.cipherAlg, 'Name of encryption cipher algorithm'),
  cipherMode: choice('cipher-mode', luksChoices.cipherMode, 'Name of encryption cipher mode'),
  ivgenAlg: choice('ivgen-alg', luksChoices.ivgenAlg, 'Name of IV generator algorithm'),
  ivgenHashAlg: choice('ivgen-hash-alg', luksChoices.hashAlg, 'Name of IV generator hash algorithm'),
  hashAlg: choice('hash-alg', luksChoices.hashAlg, 'Name of encryption hash algorithm'),
  iterTime,
  preallocation: {
    type: 'enum',
    values: ['off', 'metadata', 'falloc', 'full'],
    default: 'off',
    quiet: true,
    description: 'Preallocation mode (allowed values: off, falloc, full)',
  },
}

/** Schema of what `amend` takes: a change of key slots. */
export const amendOptions = {
  state: {
    type: 'enum',
    values: ['active', 'inactive'],
    description: 'Select new state of affected keyslots (active/inactive)',
  },
  newSecret: {
    type: 'string',
    commandLine: 'new-secret',
    description: 'New secret to set in the matching keyslots. Empty string to erase',
  },
  oldSecret: {
    type: 'string',
    commandLine: 'old-secret',
    description: 'Select all keyslots that match this password',
  },
  secret: {
    type: 'string',
    commandLine: false,
    description: 'ID of the secret that unlocks the key, instead of that of the node',
  },
  keyslot: {
    type: 'integer',
    minimum: 0,
    description: 'Select a single keyslot to modify explicitly',
  },
  iterTime,
} as const satisfies OptionSchemas
