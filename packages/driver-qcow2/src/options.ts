/** Options of the driver: schemas, types, and what the cache options come to. */
import type { Child, OptionalChild, OptionSchemas } from '@diskgraph/core/driver'
import { refuse } from './bytes.ts'
import type { Geometry } from './header/layout.ts'
import type { FreeReason } from './refcounts/frees.ts'
import { overlapTemplates, Structure } from './tables/overlap.ts'

/** Which structures a write is checked against: a template, and single structures that differ from it. */
export interface OverlapCheckFlags {
  template?: 'none' | 'constant' | 'cached' | 'all'
  mainHeader?: boolean
  activeL1?: boolean
  activeL2?: boolean
  refcountTable?: boolean
  refcountBlock?: boolean
  snapshotTable?: boolean
  inactiveL1?: boolean
  inactiveL2?: boolean
  bitmapDirectory?: boolean
}

/** How an image is encrypted. */
export interface Qcow2Encryption {
  format?: 'aes' | 'luks'
  /** Id of the secret that holds a password. */
  keySecret?: string
}

type Hash = 'md5' | 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512' | 'ripemd160'

/** How a new image is to be encrypted; all but the first two are of LUKS. */
export interface NewQcow2Encryption extends Qcow2Encryption {
  cipherAlg?: 'aes-128' | 'aes-192' | 'aes-256'
  cipherMode?: 'ecb' | 'cbc' | 'xts' | 'ctr'
  ivgenAlg?: 'plain' | 'plain64' | 'essiv'
  ivgenHashAlg?: Hash
  hashAlg?: Hash
  /** Milliseconds that trying a password takes. */
  iterTime?: number
}

/** Options to open a qcow2 image. */
export interface Qcow2Options {
  /** The storage of the image. */
  file: Child
  /** The backing file, instead of the one that the image names; null: none. */
  backing?: OptionalChild
  lazyRefcounts?: boolean
  passDiscardRequest?: boolean
  passDiscardSnapshot?: boolean
  passDiscardOther?: boolean
  discardNoUnref?: boolean
  overlapCheck?: 'none' | 'constant' | 'cached' | 'all' | OverlapCheckFlags
  cacheSize?: number
  l2CacheSize?: number
  l2CacheEntrySize?: number
  refcountCacheSize?: number
  cacheCleanInterval?: number
  allowFarOffsets?: boolean
  /** External data file, instead of the one that the image names. */
  dataFile?: Child
  encrypt?: Qcow2Encryption
}

/** Options to create a qcow2 image. */
export interface Qcow2CreateOptions {
  /** The storage to write into. */
  file: Child
  size: number
  compat?: 'v2' | 'v3' | '0.10' | '1.1'
  backingFile?: string
  backingFmt?: string
  clusterSize?: number
  refcountBits?: number
  lazyRefcounts?: boolean
  compressionType?: 'zlib' | 'zstd'
  preallocation?: 'off' | 'metadata' | 'falloc' | 'full'
  extendedL2?: boolean
  /** Where guest data is to stand instead of in `file`. */
  dataFile?: Child
  /** It has to read as the disk does. */
  dataFileRaw?: boolean
  /** As `encrypt: { format: 'aes' }`. */
  encryption?: boolean
  encrypt?: NewQcow2Encryption
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    qcow2: { open: Qcow2Options; create: Qcow2CreateOptions }
  }
}

const templates = Object.keys(overlapTemplates)
/** Text, so that {@link overlapMask} can refuse others with the words that clients know. */
const templateOption = { type: 'string', description: `A template: ${templates.join(', ')}.` } as const
const flag = (name: string) =>
  ({ type: 'boolean', description: `Check writes against ${name}.`, reopen: true }) as const

const encryptionFormats = ['aes', 'luks']
const hashes = ['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'ripemd160']
const choice = (values: readonly string[], description: string) => ({ type: 'enum', values, description }) as const
const text = (description: string) => ({ type: 'string', description }) as const
const iterTime = { type: 'integer', minimum: 0, description: 'Time to spend in PBKDF in milliseconds' } as const

/** Schema of {@link Qcow2Options}. */
export const openOptions: OptionSchemas = {
  file: { type: 'child', role: 'storage', required: true, description: 'The storage of the image.' },
  backing: {
    type: 'child',
    role: 'cow',
    description: 'The backing file, instead of the one that the image names; null for none.',
  },
  lazyRefcounts: {
    type: 'boolean',
    reopen: true,
    description: 'Postpone refcount updates and mark the image dirty meanwhile; by default as the image says.',
  },
  passDiscardRequest: {
    type: 'boolean',
    reopen: true,
    description: 'Pass discards of the guest on to the storage; by default if the node has discard=unmap.',
  },
  passDiscardSnapshot: {
    type: 'boolean',
    default: true,
    reopen: true,
    description: 'Discard clusters in the storage that deleting a snapshot frees.',
  },
  passDiscardOther: {
    type: 'boolean',
    default: false,
    reopen: true,
    description: 'Discard clusters in the storage that are freed for other reasons.',
  },
  discardNoUnref: {
    type: 'boolean',
    default: false,
    reopen: true,
    description: 'Keep the clusters of discarded ranges allocated, to avoid fragmentation.',
  },
  overlapCheck: {
    type: 'alternate',
    reopen: true,
    description: 'Which metadata writes are checked against, at most: none, constant, cached (default) or all.',
    of: [
      templateOption,
      {
        type: 'object',
        description: 'A template and single structures.',
        properties: {
          template: templateOption,
          mainHeader: flag('the header'),
          activeL1: flag('the active L1 table'),
          activeL2: flag('active L2 tables'),
          refcountTable: flag('the refcount table'),
          refcountBlock: flag('refcount blocks'),
          snapshotTable: flag('the snapshot table'),
          inactiveL1: flag('L1 tables of snapshots'),
          inactiveL2: flag('L2 tables of snapshots'),
          bitmapDirectory: flag('the bitmap directory'),
        },
      },
    ],
  },
  cacheSize: {
    type: 'integer',
    size: true,
    minimum: 0,
    reopen: true,
    description: 'Largest size of both metadata caches together.',
  },
  l2CacheSize: {
    type: 'integer',
    size: true,
    minimum: 0,
    reopen: true,
    description: 'Largest size of the L2 table cache (default 32 MiB, or what the whole disk needs).',
  },
  l2CacheEntrySize: {
    type: 'integer',
    size: true,
    minimum: 0,
    reopen: true,
    description: 'Size of an entry of the L2 cache (default: a cluster, 64 KiB at most).',
  },
  refcountCacheSize: {
    type: 'integer',
    size: true,
    minimum: 0,
    reopen: true,
    description: 'Largest size of the refcount block cache (default: four clusters, 256 KiB at least).',
  },
  cacheCleanInterval: {
    type: 'integer',
    default: 600,
    reopen: true,
    description: 'Seconds after which unused entries leave the caches; 0: never.',
  },
  allowFarOffsets: {
    type: 'boolean',
    default: false,
    reopen: true,
    description: 'Write through mappings that point far behind the end of the file.',
  },
  dataFile: {
    type: 'child',
    role: 'data',
    description: 'External data file, instead of the one that the image names.',
  },
  encrypt: {
    type: 'object',
    strong: true,
    description: 'How the image is encrypted.',
    properties: {
      format: { type: 'enum', values: encryptionFormats, description: 'The encryption that the image is to have.' },
      keySecret: { type: 'string', description: 'ID of the secret that provides a password.' },
    },
  },
}

/** Schema of {@link Qcow2CreateOptions}, in the order in which the tools list them. */
export const createOptions: OptionSchemas = {
  file: { type: 'child', role: 'storage', required: true, description: 'The storage to write into.' },
  encryption: {
    type: 'boolean',
    description: "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)",
  },
  encrypt: {
    type: 'object',
    description: 'Encryption of the image',
    properties: {
      format: choice(encryptionFormats, "Encrypt the image, format choices: 'aes', 'luks'"),
      keySecret: text('ID of secret providing qcow AES key or LUKS passphrase'),
      cipherAlg: choice(['aes-128', 'aes-192', 'aes-256'], 'Name of encryption cipher algorithm'),
      cipherMode: choice(['ecb', 'cbc', 'xts', 'ctr'], 'Name of encryption cipher mode'),
      ivgenAlg: choice(['plain', 'plain64', 'essiv'], 'Name of IV generator algorithm'),
      ivgenHashAlg: choice(hashes, 'Name of IV generator hash algorithm'),
      hashAlg: choice(hashes, 'Name of encryption hash algorithm'),
      iterTime,
    },
  },
  clusterSize: { type: 'integer', size: true, default: 65536, description: 'qcow2 cluster size' },
  extendedL2: { type: 'boolean', default: false, description: 'Extended L2 tables' },
  preallocation: {
    type: 'enum',
    values: ['off', 'metadata', 'falloc', 'full'],
    default: 'off',
    quiet: true,
    description: 'Preallocation mode (allowed values: off, metadata, falloc, full)',
  },
  compressionType: {
    type: 'enum',
    values: ['zlib', 'zstd'],
    default: 'zlib',
    description: 'Compression method used for image cluster compression',
  },
  size: { type: 'integer', size: true, required: true, minimum: 0, amend: true, description: 'Virtual disk size' },
  compat: {
    type: 'enum',
    values: ['v2', 'v3', '0.10', '1.1'],
    default: 'v3',
    amend: true,
    quiet: true,
    aliases: ['version'],
    description: 'Compatibility level (v2 [0.10] or v3 [1.1])',
  },
  backingFile: { type: 'string', amend: true, description: 'File name of a base image' },
  backingFmt: { type: 'string', amend: true, description: 'Image format of the base image' },
  dataFile: {
    type: 'child',
    role: 'data',
    commandLine: 'data_file',
    description: 'File name of an external data file',
  },
  dataFileRaw: {
    type: 'boolean',
    amend: true,
    description: 'The external data file must stay valid as a raw image',
  },
  lazyRefcounts: { type: 'boolean', default: false, amend: true, description: 'Postpone refcount updates' },
  refcountBits: { type: 'integer', default: 16, amend: true, description: 'Width of a reference count entry in bits' },
}

const secret = {
  ...text('ID of the secret that unlocks the key, instead of that of the node'),
  commandLine: false,
} as const

/** Schema of what `amend` takes. */
export const amendOptions: OptionSchemas = {
  ...Object.fromEntries(Object.entries(createOptions).filter(([, { amend }]) => amend)),
  dataFile: text('File name of an external data file'),
  encrypt: {
    type: 'object',
    description: 'Key slots of LUKS',
    properties: {
      format: { ...choice(encryptionFormats, 'The encryption that the image has'), commandLine: false },
      state: choice(['active', 'inactive'], 'Select new state of affected keyslots (active/inactive)'),
      newSecret: text('New secret to set in the matching keyslots. Empty string to erase'),
      oldSecret: text('Select all keyslots that match this password'),
      secret,
      keyslot: { type: 'integer', minimum: 0, description: 'Select a single keyslot to modify explicitly' },
      iterTime,
    },
  },
}

/** What the options come to for one image. */
export interface RuntimeOptions {
  /** Undefined: as the image says. */
  readonly lazyRefcounts: boolean | undefined
  readonly passDiscard: Readonly<Record<FreeReason, boolean>>
  readonly discardNoUnref: boolean
  /** Mask of `Structure`. */
  readonly overlapChecks: number
  readonly l2SliceSize: number
  readonly l2Slices: number
  readonly refcountBlocks: number
  /** Seconds; 0: never. */
  readonly cacheCleanInterval: number
  readonly allowFarOffsets: boolean
}

type Given = Readonly<Partial<Record<keyof Qcow2Options, unknown>>>

/** Works out the runtime options for an image of `size` bytes. EINVAL, with QEMU's texts, for bad combinations. */
export function runtimeOptions(given: Given, geometry: Geometry, size: number, unmap: boolean): RuntimeOptions {
  const { clusterSize } = geometry
  const sliceSize = (given.l2CacheEntrySize as number | undefined) ?? Math.min(clusterSize, 65536)
  if (sliceSize < 512 || sliceSize > clusterSize || 2 ** Math.floor(Math.log2(sliceSize)) !== sliceSize) {
    const range = `between 512 and the cluster size (${clusterSize})`
    refuse('EINVAL', `L2 cache entry size must be a power of two ${range}`)
  }
  const sizes = cacheSizes(given, geometry, size)
  const interval = (given.cacheCleanInterval as number | undefined) ?? 600
  if (interval < 0 || interval > 0xffffffff) refuse('EINVAL', 'Cache clean interval too big')
  return {
    lazyRefcounts: given.lazyRefcounts as boolean | undefined,
    passDiscard: {
      never: false,
      request: (given.passDiscardRequest as boolean | undefined) ?? unmap,
      snapshot: (given.passDiscardSnapshot as boolean | undefined) ?? true,
      other: (given.passDiscardOther as boolean | undefined) ?? false,
    },
    discardNoUnref: given.discardNoUnref === true,
    overlapChecks: overlapMask(given.overlapCheck as Qcow2Options['overlapCheck']),
    l2SliceSize: sliceSize,
    l2Slices: Math.max(2, Math.floor(sizes.l2 / sliceSize)),
    refcountBlocks: Math.max(4, Math.floor(sizes.refcounts / clusterSize)),
    cacheCleanInterval: interval,
    allowFarOffsets: given.allowFarOffsets === true,
  }
}

const defaultL2CacheSize = 32 * 1024 * 1024
const minRefcountCacheSize = 256 * 1024
const maxCacheSize = 2 ** 31 * 65536

function cacheSizes(given: Given, geometry: Geometry, size: number): { l2: number; refcounts: number } {
  const { clusterSize, l2Span } = geometry
  const total = given.cacheSize as number | undefined
  const l2 = given.l2CacheSize as number | undefined
  const refcounts = given.refcountCacheSize as number | undefined
  if (total !== undefined) {
    if (l2 !== undefined && refcounts !== undefined) {
      refuse('EINVAL', 'cache-size, l2-cache-size and refcount-cache-size may not be set at the same time')
    }
    if (l2 !== undefined && l2 > total) refuse('EINVAL', 'l2-cache-size may not exceed cache-size')
    if (refcounts !== undefined && refcounts > total) refuse('EINVAL', 'refcount-cache-size may not exceed cache-size')
  }
  if (l2 !== undefined && l2 > maxCacheSize) refuse('EINVAL', 'L2 cache size too big')
  if (refcounts !== undefined && refcounts > maxCacheSize) refuse('EINVAL', 'Refcount cache size too big')
  const smallest = Math.max(4 * clusterSize, minRefcountCacheSize)
  const needed = Math.ceil(size / l2Span) * clusterSize
  if (total !== undefined) {
    const forL2 = l2 ?? Math.min(needed, total - (refcounts ?? Math.min(total, 4 * clusterSize)))
    return { l2: forL2, refcounts: refcounts ?? total - forL2 }
  }
  return { l2: l2 ?? defaultL2CacheSize, refcounts: refcounts ?? smallest }
}

function overlapMask(given: Qcow2Options['overlapCheck']): number {
  if (given === undefined) return overlapTemplates.cached!
  if (typeof given === 'string') return templateMask(given)
  let mask = templateMask(given.template ?? 'cached')
  for (const [name, bit] of Object.entries(Structure)) {
    const wanted = given[name as keyof OverlapCheckFlags]
    if (wanted === true) mask |= bit
    if (wanted === false) mask &= ~bit
  }
  return mask
}

function templateMask(name: string): number {
  if (templates.includes(name)) return overlapTemplates[name]!
  const allowed = `Allowed are any of the following: ${templates.join(', ')}`
  return refuse('EINVAL', `Unsupported value '${name}' for qcow2 option 'overlap-check'. ${allowed}`)
}
