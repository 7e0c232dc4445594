/**
 * Header extensions: a list of typed, length-prefixed records between the header and the backing file name.
 * Those that nobody here knows are kept byte for byte and in order, so that rewriting the header loses nothing.
 */
import { alignUp } from '@diskgraph/core/driver'
import { decodeText, encodeText, refuse, viewOf } from '../bytes.ts'
import {
  AutoclearBit,
  bitmapsExtensionSize,
  CompatibleBit,
  CryptMethod,
  ExtensionType,
  featureNameEntrySize,
  featureNameSize,
  IncompatibleBit,
  maxBackingFormatSize,
} from './layout.ts'

/** One header extension as it stands in the image. */
export interface HeaderExtension {
  readonly type: number
  readonly data: Uint8Array
}

/** One entry of the feature name table. */
export interface FeatureName {
  /** 0 incompatible, 1 compatible, 2 autoclear. */
  readonly kind: number
  readonly bit: number
  readonly name: string
}

/** The names that are written into new images. */
const featureNames: readonly FeatureName[] = [
  { kind: 0, bit: IncompatibleBit.dirty, name: 'dirty bit' },
  { kind: 0, bit: IncompatibleBit.corrupt, name: 'corrupt bit' },
  { kind: 0, bit: IncompatibleBit.externalDataFile, name: 'external data file' },
  { kind: 0, bit: IncompatibleBit.compressionType, name: 'compression type' },
  { kind: 0, bit: IncompatibleBit.extendedL2, name: 'extended L2 entries' },
  { kind: 1, bit: CompatibleBit.lazyRefcounts, name: 'lazy refcounts' },
  { kind: 2, bit: AutoclearBit.bitmaps, name: 'bitmaps' },
  { kind: 2, bit: AutoclearBit.rawExternalData, name: 'raw external data' },
]

/**
 * Parses the extension area at the start of `area`; it is `size` bytes long up to the backing file name or the end of
 * the cluster, and what begins in it must end in it. EINVAL with QEMU's texts for what does not fit or contradicts the header.
 */
export function parseExtensions(area: Uint8Array, size: number, cryptMethod: number): HeaderExtension[] {
  const view = viewOf(area)
  const extensions: HeaderExtension[] = []
  let position = 0
  while (position < size && position + 8 <= area.byteLength) {
    const type = view.getUint32(position)
    const length = view.getUint32(position + 4)
    if (type === ExtensionType.end) break
    position += 8
    if (length > size - position) refuse('EINVAL', 'Header extension too large')
    checkExtension(type, length, cryptMethod)
    extensions.push({ type, data: area.slice(position, position + length) })
    position += alignUp(length, 8)
  }
  return extensions
}

function checkExtension(type: number, length: number, cryptMethod: number): void {
  if (type === ExtensionType.backingFormat && length > maxBackingFormatSize) {
    refuse('EINVAL', `ERROR: ext_backing_format: len=${length} too large (>=${maxBackingFormatSize + 1})`)
  }
  if (type === ExtensionType.encryptionHeader && cryptMethod !== CryptMethod.luks) {
    refuse('EINVAL', 'CRYPTO header extension only expected with LUKS encryption method')
  }
  if (type === ExtensionType.encryptionHeader && length !== 16) {
    refuse('EINVAL', `CRYPTO header extension size ${length}, but expected size 16`)
  }
  if (type === ExtensionType.bitmaps && length !== bitmapsExtensionSize) {
    refuse('EINVAL', 'bitmaps_ext: Invalid extension length')
  }
}

/** The extension of `type`; of several the last one counts. */
export function findExtension(extensions: readonly HeaderExtension[], type: number): HeaderExtension | undefined {
  return extensions.findLast((extension) => extension.type === type)
}

/** The list with the extension of `type` replaced, added (in front) or, without `data`, removed. */
export function withExtension(
  extensions: readonly HeaderExtension[],
  type: number,
  data: Uint8Array | undefined,
): HeaderExtension[] {
  const others = extensions.filter((extension) => extension.type !== type)
  return data === undefined ? others : [{ type, data }, ...others]
}

/** The bytes of the extension area with its end marker. */
export function serializeExtensions(extensions: readonly HeaderExtension[]): Uint8Array {
  let length = 8
  for (const { data } of extensions) length += 8 + alignUp(data.byteLength, 8)
  const area = new Uint8Array(length)
  const view = viewOf(area)
  let position = 0
  for (const { type, data } of extensions) {
    view.setUint32(position, type)
    view.setUint32(position + 4, data.byteLength)
    area.set(data, position + 8)
    position += 8 + alignUp(data.byteLength, 8)
  }
  return area
}

/** The feature name table of an image. The name of its last entry may be cut short. */
export function parseFeatureNames(data: Uint8Array): FeatureName[] {
  const names: FeatureName[] = []
  for (let at = 0; at + 2 < data.byteLength; at += featureNameEntrySize) {
    const bytes = data.subarray(at + 2, at + 2 + featureNameSize)
    const end = bytes.indexOf(0)
    names.push({ kind: data[at]!, bit: data[at + 1]!, name: decodeText(end < 0 ? bytes : bytes.subarray(0, end)) })
  }
  return names
}

/** The bytes of a feature name table. */
function serializeFeatureNames(names: readonly FeatureName[]): Uint8Array {
  const data = new Uint8Array(names.length * featureNameEntrySize)
  names.forEach(({ kind, bit, name }, index) => {
    const at = index * featureNameEntrySize
    data[at] = kind
    data[at + 1] = bit
    data.set(encodeText(name).subarray(0, featureNameSize), at + 2)
  })
  return data
}

/** The extensions of a new image: the feature name table, where the cluster has room for it. */
export function initialExtensions(version: 2 | 3, clusterBits: number): HeaderExtension[] {
  if (version === 2 || clusterBits < 12) return []
  return [{ type: ExtensionType.featureNames, data: serializeFeatureNames(featureNames) }]
}
