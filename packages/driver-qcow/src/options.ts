/** The options of the driver. */
import type { Child, OptionalChild, SchemasOf } from '@diskgraph/core/driver'

/** Options of a `qcow` node. */
export interface QcowOptions {
  /** Where the image stands. */
  file: Child
  /** The backing file, instead of the one that the image names; null: none. */
  backing?: OptionalChild
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
  backing: {
    type: 'child',
    role: 'cow',
    description: 'The backing file, instead of the one that the image names; null for none',
  },
}

/** The schemas of {@link QcowCreateOptions}. */
export const createOptions: SchemasOf<QcowCreateOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
  size: { type: 'integer', size: true, minimum: 0, required: true, description: 'Virtual disk size' },
  backingFile: { type: 'string', description: 'File name of a base image' },
  backingFmt: { type: 'string', description: 'Format of the backing image' },
}
