/** Checks of header fields against the caps of the format and against the features known here. */
import { isAligned } from '@diskgraph/core/driver'
import { printable, refuse } from '../bytes.ts'
import { type FeatureName, findExtension, type HeaderExtension, parseFeatureNames } from './extensions.ts'
import type { HeaderFields } from './header.ts'
import {
  AutoclearBit,
  CompressionType,
  CryptMethod,
  ExtensionType,
  entrySize,
  geometryOf,
  IncompatibleBit,
  maxL1TableSize,
  maxRefcountTableSize,
} from './layout.ts'

/** All incompatible features that an image may have without being refused as unknown. */
const knownIncompatible = maskOf(IncompatibleBit)
/** The autoclear features whose meaning is known here. */
export const knownAutoclear = maskOf(AutoclearBit)

function maskOf(bits: Readonly<Record<string, number>>): bigint {
  return Object.values(bits).reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n)
}

/** Whether `bit` is set in a feature word. */
export function hasFeature(features: bigint, bit: number): boolean {
  return (features & (1n << BigInt(bit))) !== 0n
}

/** The feature word with `bit` set or cleared. */
export function withFeature(features: bigint, bit: number, set: boolean): bigint {
  const mask = 1n << BigInt(bit)
  return set ? features | mask : features & ~mask
}

/** Refuses unknown incompatible features by their names, and contradictions between features and fields. */
export function checkFeatures(fields: HeaderFields, extensions: readonly HeaderExtension[]): void {
  const unknown = fields.incompatibleFeatures & ~knownIncompatible
  if (unknown !== 0n) {
    const table = findExtension(extensions, ExtensionType.featureNames)
    const names = table === undefined ? [] : parseFeatureNames(table.data)
    refuse('ENOTSUP', `Unsupported qcow2 feature(s): ${describeUnknown(unknown, names)}`)
  }
  const flagged = hasFeature(fields.incompatibleFeatures, IncompatibleBit.compressionType)
  const { compressionType } = fields
  if (compressionType !== CompressionType.zlib && compressionType !== CompressionType.zstd) {
    refuse('ENOTSUP', `qcow2: unknown compression type: ${compressionType}`)
  }
  if (flagged && compressionType === CompressionType.zlib) {
    refuse('EINVAL', 'qcow2: Compression type incompatible feature bit must not be set')
  }
  if (!flagged && compressionType !== CompressionType.zlib) {
    refuse('EINVAL', 'qcow2: Compression type incompatible feature bit must be set')
  }
}

function describeUnknown(unknown: bigint, names: readonly FeatureName[]): string {
  const known: string[] = []
  let rest = unknown
  for (const { kind, bit, name } of names) {
    if (kind !== 0 || bit > 63 || !hasFeature(rest, bit)) continue
    known.push(printable(name))
    rest = withFeature(rest, bit, false)
  }
  if (rest !== 0n) known.push(`Unknown incompatible feature: ${rest.toString(16)}`)
  return known.join(', ')
}

/** Refuses an image that counts no clusters. */
export function checkRefcountTable({ refcountTableClusters }: Pick<HeaderFields, 'refcountTableClusters'>): void {
  if (refcountTableClusters === 0) refuse('EINVAL', 'Image does not contain a reference count table')
}

/** Checks sizes and offsets of all tables against the caps of the format. A check can make a refcount table anew. */
export function checkTables(fields: HeaderFields, check: boolean): void {
  const { clusterSize, l2Span } = geometryOf(fields.clusterBits, fields.refcountOrder)
  if (fields.cryptMethod > CryptMethod.luks) refuse('EINVAL', `Unsupported encryption method ${fields.cryptMethod}`)
  if (!check) checkRefcountTable(fields)
  const refcountTableSize = fields.refcountTableClusters * clusterSize
  if (refcountTableSize > maxRefcountTableSize) refuse('EFBIG', 'Reference count table too large')
  checkOffset('Reference count table', fields.refcountTableOffset, refcountTableSize, clusterSize)
  if (fields.l1Size > maxL1TableSize / entrySize) refuse('EFBIG', 'Active L1 table too large')
  checkOffset('Active L1 table', fields.l1TableOffset, fields.l1Size * entrySize, clusterSize)
  const needed = Math.ceil(fields.size / l2Span)
  if (!Number.isSafeInteger(fields.size) || needed > 0x7fffffff) refuse('EFBIG', 'Image is too big')
  if (needed > fields.l1Size) refuse('EINVAL', 'L1 table is too small')
}

function checkOffset(what: string, offset: number, length: number, clusterSize: number): void {
  if (!Number.isSafeInteger(offset + length) || !isAligned(offset, clusterSize)) {
    refuse('EINVAL', `${what} offset invalid`)
  }
}
