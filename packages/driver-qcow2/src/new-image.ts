/** What a new image is to be: create options, checked against each other. */
import { alignUp, isPowerOfTwo, type Preallocation } from '@diskgraph/core/driver'
import { refuse } from './bytes.ts'
import {
  CompressionType,
  entrySize,
  type Geometry,
  geometryOf,
  IncompatibleBit,
  maxBackingFormatSize,
  maxClusterBits,
  maxL1TableSize,
  minClusterBits,
  minExtendedClusterSize,
  withFeature,
} from './header/layout.ts'
import type { NewQcow2Encryption } from './options.ts'

/** See the top of this file. */
export interface NewImage {
  readonly version: 2 | 3
  readonly size: number
  readonly geometry: Geometry
  readonly lazyRefcounts: boolean
  /** A value of `CompressionType`. */
  readonly compressionType: number
  readonly preallocation: Preallocation
  readonly backingFile: string | undefined
  readonly backingFormat: string | undefined
  readonly encrypt: NewQcow2Encryption | undefined
  /** An external data file has to read as the disk does. */
  readonly dataFileRaw: boolean
  /** Incompatible features besides the compression. */
  readonly features: bigint
}

/** Checks create options; throws with QEMU's texts for values that do not go together. */
export function checkCreateOptions(options: Readonly<Record<string, unknown>>): NewImage {
  const version = options.compat === 'v2' || options.compat === '0.10' ? 2 : 3
  const clusterSize = options.clusterSize as number
  if (!isPowerOfTwo(clusterSize) || clusterSize < 2 ** minClusterBits || clusterSize > 2 ** maxClusterBits) {
    refuse('EINVAL', 'Cluster size must be a power of two between 512 and 2048k')
  }
  const refcountBits = options.refcountBits as number
  if (!isPowerOfTwo(refcountBits) || refcountBits > 64) {
    refuse('EINVAL', 'Refcount width must be a power of two and may not exceed 64 bits')
  }
  const newer = '(use version=v3 or greater)'
  if (version === 2 && refcountBits !== 16) {
    refuse('EINVAL', `Different refcount widths than 16 bits require compatibility level 1.1 or above ${newer}`)
  }
  if (version === 2 && options.lazyRefcounts === true) {
    refuse('EINVAL', `Lazy refcounts only supported with compatibility level 1.1 and above ${newer}`)
  }
  const compressionType = CompressionType[options.compressionType as keyof typeof CompressionType]
  if (version === 2 && compressionType !== CompressionType.zlib) {
    refuse('EINVAL', `Non-zlib compression type is only supported with compatibility level 1.1 and above ${newer}`)
  }
  const backingFile = (options.backingFile as string | undefined) || undefined
  const backingFormat = (options.backingFmt as string | undefined) || undefined
  const preallocation = options.preallocation as Preallocation
  const features = checkLayout(options, version, clusterSize)
  if (backingFile !== undefined && preallocation !== 'off' && options.extendedL2 !== true) {
    refuse('EINVAL', 'Backing file and preallocation can only be used at the same time if extended_l2 is on')
  }
  if (backingFile === undefined && backingFormat !== undefined)
    refuse('EINVAL', 'Backing format cannot be used without backing file')
  if (backingFormat !== undefined && new TextEncoder().encode(backingFormat).length > maxBackingFormatSize) {
    refuse('EINVAL', `Parameter 'backing-fmt' does not accept value '${backingFormat}'`)
  }
  const size = alignUp(options.size as number, 512)
  const geometry = geometryOf(Math.log2(clusterSize), Math.log2(refcountBits), features)
  if (!Number.isSafeInteger(size) || Math.ceil(size / geometry.l2Span) * entrySize > maxL1TableSize) {
    const message = "The image size is too large for file format 'qcow2' (try using a larger cluster size)"
    refuse('EFBIG', message)
  }
  const lazyRefcounts = options.lazyRefcounts === true
  const encrypt = encryptionOf(options)
  const dataFileRaw = options.dataFileRaw === true
  const backing = { backingFile, backingFormat }
  return {
    version,
    size,
    geometry,
    lazyRefcounts,
    compressionType,
    preallocation,
    ...backing,
    encrypt,
    dataFileRaw,
    features,
  }
}

function encryptionOf({ encryption, encrypt }: Readonly<Record<string, unknown>>): NewQcow2Encryption | undefined {
  const { format, ...settings } = (encrypt ?? {}) as NewQcow2Encryption
  if (encryption === undefined && encrypt === undefined) return undefined
  if (encryption !== undefined && format !== undefined) {
    refuse('EINVAL', "'encrypt.format' and its alias 'encryption' can't be used at the same time")
  }
  if (encryption === false) return undefined
  if (encryption === undefined && format === undefined) refuse('EINVAL', "Parameter 'encrypt.format' is missing")
  return { format: format ?? 'aes', ...settings }
}

/** Refuses what does not go with an external data file, or with extended L2 entries. */
function checkLayout(options: Readonly<Record<string, unknown>>, version: 2 | 3, clusterSize: number): bigint {
  const external = options.dataFile !== undefined
  const newer = 'only supported with compatibility level 1.1 and above (use version=v3 or greater)'
  if (options.extendedL2 === true && clusterSize < minExtendedClusterSize) {
    refuse(
      'EINVAL',
      `Extended L2 entries are only supported with cluster sizes of at least ${minExtendedClusterSize} bytes`,
    )
  }
  if (options.extendedL2 === true && version < 3) refuse('EINVAL', `Extended L2 entries are ${newer}`)
  if (external && version < 3) refuse('EINVAL', `External data files are ${newer}`)
  if (options.dataFileRaw === true && !external) refuse('EINVAL', 'data-file-raw requires data-file')
  if (options.dataFileRaw === true && options.backingFile) {
    refuse('EINVAL', 'Backing file and data-file-raw cannot be used at the same time')
  }
  const features = withFeature(0n, IncompatibleBit.externalDataFile, external)
  return withFeature(features, IncompatibleBit.extendedL2, options.extendedL2 === true)
}
