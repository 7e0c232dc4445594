/** What a new image is to be: create options, checked against each other. */
import { alignUp, isPowerOfTwo, type Preallocation } from '@diskgraph/core/driver'
import type { EncryptionOptions } from '@diskgraph/crypto'
import { refuse } from './bytes.ts'
import {
  CompressionType,
  entrySize,
  type Geometry,
  geometryOf,
  maxBackingFormatSize,
  maxClusterBits,
  maxL1TableSize,
  minClusterBits,
} from './header/layout.ts'

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
  readonly encrypt: EncryptionOptions | undefined
}

/** Checks create options; throws with QEMU's texts for values that do not go together or are not supported yet. */
export function checkCreateOptions(options: Readonly<Record<string, unknown>>): NewImage {
  refuseUnsupported(options)
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
  if (backingFile !== undefined && preallocation !== 'off') {
    refuse('EINVAL', 'Backing file and preallocation can only be used at the same time if extended_l2 is on')
  }
  if (backingFile === undefined && backingFormat !== undefined)
    refuse('EINVAL', 'Backing format cannot be used without backing file')
  if (backingFormat !== undefined && new TextEncoder().encode(backingFormat).length > maxBackingFormatSize) {
    refuse('EINVAL', `Parameter 'backing-fmt' does not accept value '${backingFormat}'`)
  }
  const size = alignUp(options.size as number, 512)
  const geometry = geometryOf(Math.log2(clusterSize), Math.log2(refcountBits))
  if (!Number.isSafeInteger(size) || Math.ceil(size / geometry.l2Span) * entrySize > maxL1TableSize) {
    const message = "The image size is too large for file format 'qcow2' (try using a larger cluster size)"
    refuse('EFBIG', message)
  }
  const lazyRefcounts = options.lazyRefcounts === true
  const encrypt = encryptionOf(options)
  return { version, size, geometry, lazyRefcounts, compressionType, preallocation, backingFile, backingFormat, encrypt }
}

function encryptionOf({ encryption, encrypt }: Readonly<Record<string, unknown>>): EncryptionOptions | undefined {
  const { format, ...settings } = (encrypt ?? {}) as EncryptionOptions
  if (encryption === undefined && encrypt === undefined) return undefined
  if (encryption !== undefined && format !== undefined) {
    refuse('EINVAL', "'encrypt.format' and its alias 'encryption' can't be used at the same time")
  }
  if (encryption === false) return undefined
  if (encryption === undefined && format === undefined) refuse('EINVAL', "Parameter 'encrypt.format' is missing")
  return { format: format ?? 'aes', ...settings }
}

function refuseUnsupported(options: Readonly<Record<string, unknown>>): void {
  const notYet = (what: string): never => {
    refuse('ENOTSUP', `cannot create the image: ${what} is not supported yet`)
  }
  if (options.dataFile !== undefined || options.dataFileRaw === true) notYet('an external data file')
  if (options.extendedL2 === true) notYet('extended_l2')
}
