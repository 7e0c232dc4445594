/** The options of the driver. */
import type { Child, SchemasOf } from '@diskgraph/core/driver'
import { type BackingOptions, backingOptions } from '@diskgraph/sparse'

/** Options of a `qed` node. */
export interface QedOptions extends BackingOptions {
  /** Where the image stands. */
  file: Child
}

/** Settings of a new image. */
export interface QedCreateOptions {
  file: Child
  /** Virtual size; rounded up to a multiple of 512. */
  size: number
  backingFile?: string
  /** `raw`: the backing file is not probed; the format has no room for other names. */
  backingFmt?: string
  /** Bytes, a power of two from 4 KiB to 64 MiB. Default 64 KiB. */
  clusterSize?: number
  /** Clusters, a power of two from 1 to 16. Default 4. */
  tableSize?: number
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    qed: { open: QedOptions; create: QedCreateOptions }
  }
}

/** The schemas of {@link QedOptions}. */
export const options: SchemasOf<QedOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where the image stands' },
  ...backingOptions,
}

/** The schemas of {@link QedCreateOptions}. */
export const createOptions: SchemasOf<QedCreateOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
  size: { type: 'integer', size: true, minimum: 0, required: true, description: 'Virtual disk size' },
  backingFile: { type: 'string', description: 'File name of a base image' },
  backingFmt: { type: 'string', description: 'Image format of the base image' },
  clusterSize: { type: 'integer', size: true, minimum: 0, default: 65536, description: 'Cluster size (in bytes)' },
  tableSize: {
    type: 'integer',
    minimum: 0,
    size: true,
    default: 4,
    quiet: true,
    description: 'L1/L2 table size (in clusters)',
  },
}
