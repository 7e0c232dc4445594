/** The options of the driver. */
import type { Child, SchemasOf } from '@diskgraph/core/driver'
import { type BackingOptions, backingOptions } from '@diskgraph/sparse'

/** Options of a `qcow` node. */
export interface QcowOptions extends BackingOptions {
  /** Where the image stands. */
  file: Child
}

/** Settings of a new image. */
export interface QcowCreateOptions {
  file: Child
  /** Virtual size; rounded up to a multiple of 512. */
  size: number
  /** With a backing file clusters have 512 bytes, else 4 KiB. */
  backingFile?: string
  /** To open the backing file with; the format has no room for it. */
  backingFmt?: string
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    qcow: { open: QcowOptions; create: QcowCreateOptions }
  }
}

/** The schemas of {@link QcowOptions}. */
export const options: SchemasOf<QcowOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where the image stands' },
  ...backingOptions,
}

/** The schemas of {@link QcowCreateOptions}. */
export const createOptions: SchemasOf<QcowCreateOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
  size: { type: 'integer', size: true, minimum: 0, required: true, description: 'Virtual disk size' },
  backingFile: { type: 'string', description: 'File name of a base image' },
  backingFmt: { type: 'string', description: 'Format of the backing image' },
}
