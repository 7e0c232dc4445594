/** The options of the driver. */
import type { Child, SchemasOf } from '@diskgraph/core/driver'

/** Options of a `vdi` node. */
export interface VdiOptions {
  /** Where the image stands. */
  file: Child
}

/** Settings of a new image. */
export interface VdiCreateOptions {
  file: Child
  /** Virtual size; rounded up to a multiple of 512. */
  size: number
  /** All blocks are there from the beginning. Default false. */
  static?: boolean
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    vdi: { open: VdiOptions; create: VdiCreateOptions }
  }
}

/** The schemas of {@link VdiOptions}. */
export const options: SchemasOf<VdiOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where the image stands' },
}

/** The schemas of {@link VdiCreateOptions}. */
export const createOptions: SchemasOf<VdiCreateOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
  size: { type: 'integer', size: true, minimum: 0, required: true, description: 'Virtual disk size' },
  static: { type: 'boolean', default: false, description: 'VDI static (pre-allocated) image' },
}
