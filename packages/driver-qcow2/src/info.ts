/** What `info` shows of an image. */
import type { DriverInfo, InfoValue } from '@diskgraph/core/driver'
import { decodeText } from './bytes.ts'
import { vmStateOffset } from './data/vm-state.ts'
import { hasFeature } from './header/checks.ts'
import { findExtension } from './header/extensions.ts'
import {
  AutoclearBit,
  CompatibleBit,
  CompressionType,
  CryptMethod,
  ExtensionType,
  IncompatibleBit,
} from './header/layout.ts'
import type { Qcow2State } from './state.ts'

/** The general part, and the format-specific part with the keys of QAPI's ImageInfoSpecificQCow2. */
export async function imageInfo(state: Qcow2State): Promise<DriverInfo> {
  const header = state.header.value
  const data: Record<string, InfoValue | undefined> = {
    compat: header.version === 2 ? '0.10' : '1.1',
    compressionType: header.compressionType === CompressionType.zstd ? 'zstd' : 'zlib',
  }
  if (header.cryptMethod !== CryptMethod.none) {
    data.encrypt = { format: header.cryptMethod === CryptMethod.luks ? 'luks' : 'aes' }
  }
  if (hasFeature(header.incompatibleFeatures, IncompatibleBit.externalDataFile)) {
    const name = findExtension(header.extensions, ExtensionType.dataFile)
    data.dataFile = name && decodeText(name.data)
    data.dataFileRaw = hasFeature(header.autoclearFeatures, AutoclearBit.rawExternalData)
  }
  if (header.version >= 3) {
    data.lazyRefcounts = hasFeature(header.compatibleFeatures, CompatibleBit.lazyRefcounts)
    data.refcountBits = state.geometry.refcountBits
    data.corrupt = state.header.corrupt
    data.extendedL2 = hasFeature(header.incompatibleFeatures, IncompatibleBit.extendedL2)
  } else {
    data.refcountBits = state.geometry.refcountBits
  }
  return {
    clusterSize: state.geometry.clusterSize,
    dirty: state.header.dirty,
    corrupt: state.header.corrupt,
    vmStateOffset: vmStateOffset(state),
    ...(header.cryptMethod === CryptMethod.none ? {} : { encrypted: true }),
    ...(header.backingFile === undefined ? {} : { backingFilename: header.backingFile }),
    ...(header.backingFormat === undefined ? {} : { backingFormat: header.backingFormat }),
    specific: { type: 'qcow2', data },
  }
}
