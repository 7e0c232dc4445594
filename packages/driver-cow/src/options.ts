/** The options of the driver. */
import type { Child, SchemasOf } from '@diskgraph/core/driver'
import { type BackingOptions, backingOptions } from '@diskgraph/sparse'

/** Options of a `cow` node. */
export interface CowOptions extends BackingOptions {
  /** Where the image stands. */
  file: Child
}

/** Settings of a new image. */
export interface CowCreateOptions {
  file: Child
  /** Virtual size; rounded up to a multiple of 512. */
  size: number
  backingFile?: string
  /** To open the backing file with; the format has no room for it. */
  backingFmt?: string
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    cow: { open: CowOptions; create: CowCreateOptions }
  }
}

/** The schemas of {@link CowOptions}. */
export const options: SchemasOf<CowOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where the image stands' },
  ...backingOptions,
}

/** The schemas of {@link CowCreateOptions}. */
export const createOptions: SchemasOf<CowCreateOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
  size: { type: 'integer', size: true, minimum: 0, required: true, description: 'Virtual disk size' },
  backingFile: { type: 'string', description: 'File name of a base image' },
  backingFmt: { type: 'string', description: 'Format of the backing image' },
}
