/** The options of the driver. */
import type { Child, OptionalChild, SchemasOf } from '@diskgraph/core/driver'

/** Options of a `vhdx` node. */
export interface VhdxOptions {
  /** Where the image stands. */
  file: Child
  /** The image below, instead of the one that a differencing image names; null: none. */
  backing?: OptionalChild
}

/** Settings of a new image. */
export interface VhdxCreateOptions {
  file: Child
  /** Virtual size; rounded up to a multiple of 512. */
  size: number
  /** Bytes of the log; rounded up to a multiple of 1 MiB. Default 1 MiB. */
  logSize?: number
  /** Bytes, a power of two from 1 MiB to 256 MiB. Default, and 0: by the size of the disk, 8 to 64 MiB. */
  blockSize?: number
  subformat?: 'dynamic' | 'fixed'
  /** The image below: then it is a differencing one. */
  backingFile?: string
  /** `vhdx`, the only format that the image below may have. */
  backingFmt?: string
  /** Blocks that were never written are said to be zeroes. Default: those of dynamic images. */
  blockStateZero?: boolean
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    vhdx: { open: VhdxOptions; create: VhdxCreateOptions }
  }
}

/** The schemas of {@link VhdxOptions}. */
export const options: SchemasOf<VhdxOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where the image stands' },
  backing: {
    type: 'child',
    role: 'cow',
    description: 'The image below, instead of the one that a differencing image names; null for none',
  },
}

/** The schemas of {@link VhdxCreateOptions}. */
export const createOptions: SchemasOf<VhdxCreateOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
  size: { type: 'integer', size: true, minimum: 0, required: true, description: 'Virtual disk size; max of 64TB.' },
  logSize: { type: 'integer', size: true, minimum: 0, default: 1048576, description: 'Log size; min 1MB.' },
  blockSize: {
    type: 'integer',
    size: true,
    minimum: 0,
    default: 0,
    description: 'Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size.',
  },
  subformat: {
    type: 'enum',
    values: ['dynamic', 'fixed'],
    default: 'dynamic',
    quiet: true,
    description: "VHDX format type, can be either 'dynamic' or 'fixed'. Default is 'dynamic'.",
  },
  backingFile: { type: 'string', description: 'File name of a base image' },
  backingFmt: { type: 'string', description: "Must be 'vhdx' if present" },
  blockStateZero: {
    type: 'boolean',
    quiet: true,
    description:
      "Force use of payload blocks of type 'ZERO'. Non-standard, but default.  Do not set to 'off' when using 'qemu-img convert' with subformat=dynamic.",
  },
}
