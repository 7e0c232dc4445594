/** The options of the driver. */
import type { Child, SchemasOf } from '@diskgraph/core/driver'
import type { SizeRule } from './structures.ts'

/** Options of a `vpc` node. */
export interface VpcOptions {
  /** Where the image stands. */
  file: Child
  /** Which of its two sizes the disk has. Default: as the program that made the image meant it. */
  forceSizeCalc?: SizeRule
}

/** Settings of a new image. */
export interface VpcCreateOptions {
  file: Child
  /** Virtual size; rounded up to a multiple of 512, and to a geometry. */
  size: number
  subformat?: 'dynamic' | 'fixed'
  /** The size is meant exactly, not rounded up to a geometry. Default false. */
  forceSize?: boolean
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    vpc: { open: VpcOptions; create: VpcCreateOptions }
  }
}

/** The schemas of {@link VpcOptions}. */
export const options: SchemasOf<VpcOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where the image stands' },
  forceSizeCalc: {
    type: 'enum',
    values: ['chs', 'current_size'],
    strong: true,
    qapi: 'force_size_calc',
    description: 'Force disk size calculation to use either CHS geometry, or use the disk current_size specified',
  },
}

/** The schemas of {@link VpcCreateOptions}. */
export const createOptions: SchemasOf<VpcCreateOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
  forceSize: {
    type: 'boolean',
    default: false,
    quiet: true,
    description:
      'Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation',
  },
  size: { type: 'integer', size: true, minimum: 0, required: true, description: 'Virtual disk size' },
  subformat: {
    type: 'enum',
    values: ['dynamic', 'fixed'],
    default: 'dynamic',
    quiet: true,
    description: 'Type of virtual hard disk format. Supported formats are {dynamic (default) | fixed} ',
  },
}
