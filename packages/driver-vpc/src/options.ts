/** The options of the driver. */
import type { Child, SchemasOf } from '@diskgraph/core/driver'
import { type BackingOptions, backingOptions } from '@diskgraph/sparse'
import type { SizeRule } from './structures.ts'

/** Options of a `vpc` node. */
export interface VpcOptions extends BackingOptions {
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
  /** The image below: then it is a differencing one. */
  backingFile?: string
  /** `vpc`, the only format that the image below may have. */
  backingFmt?: string
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
  ...backingOptions,
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
  backingFile: { type: 'string', description: 'File name of a base image' },
  backingFmt: { type: 'string', description: "Must be 'vpc' if present" },
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
