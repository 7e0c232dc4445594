/** The options of the driver. */
import type { Child, SchemasOf } from '@diskgraph/core/driver'
import { type BackingOptions, backingOptions } from '@diskgraph/sparse'

/** Options of a `vmdk` node. */
export interface VmdkOptions extends BackingOptions {
  /** The image, or the descriptor of one. */
  file: Child
  /** The extents, instead of those that the descriptor names. */
  extents?: readonly Child[]
}

/** Kinds of new images. */
export type Subformat =
  | 'monolithicSparse'
  | 'monolithicFlat'
  | 'twoGbMaxExtentSparse'
  | 'twoGbMaxExtentFlat'
  | 'streamOptimized'

/** Settings of a new image. */
export interface VmdkCreateOptions {
  file: Child
  /** Virtual size; rounded up to a multiple of 512. */
  size: number
  /** The adapter that the descriptor names. Default `ide`. */
  adapterType?: 'ide' | 'buslogic' | 'lsilogic' | 'legacyESX'
  backingFile?: string
  /** `vmdk`, the only format that a backing file may have. */
  backingFmt?: string
  /** The descriptor says version 6 of the hardware. */
  compat6?: boolean
  /** The version of the hardware that the descriptor says. Default 4. */
  hwversion?: string
  toolsversion?: string
  subformat?: Subformat
  /** Zeroes are entries of their own. */
  zeroedGrain?: boolean
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    vmdk: { open: VmdkOptions; create: VmdkCreateOptions }
  }
}

/** The schemas of {@link VmdkOptions}. */
export const options: SchemasOf<VmdkOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'The image, or the descriptor of one' },
  ...backingOptions,
  extents: {
    type: 'children',
    role: 'storage',
    description: 'The extents, instead of those that the descriptor names',
  },
}

/** The schemas of {@link VmdkCreateOptions}. */
export const createOptions: SchemasOf<VmdkCreateOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
  size: { type: 'integer', size: true, minimum: 0, required: true, description: 'Virtual disk size' },
  adapterType: {
    type: 'enum',
    values: ['ide', 'buslogic', 'lsilogic', 'legacyESX'],
    default: 'ide',
    quiet: true,
    description: 'Virtual adapter type, can be one of ide (default), lsilogic, buslogic or legacyESX',
  },
  backingFile: { type: 'string', description: 'File name of a base image' },
  backingFmt: { type: 'string', description: "Must be 'vmdk' if present" },
  compat6: { type: 'boolean', default: false, description: 'VMDK version 6 image' },
  hwversion: { type: 'string', default: 'undefined', description: 'VMDK hardware version' },
  toolsversion: { type: 'string', description: 'VMware guest tools version' },
  subformat: {
    type: 'enum',
    values: ['monolithicSparse', 'monolithicFlat', 'twoGbMaxExtentSparse', 'twoGbMaxExtentFlat', 'streamOptimized'],
    default: 'monolithicSparse',
    quiet: true,
    description:
      'VMDK flat extent format, can be one of {monolithicSparse (default) | monolithicFlat | twoGbMaxExtentSparse | twoGbMaxExtentFlat | streamOptimized} ',
  },
  zeroedGrain: {
    type: 'boolean',
    default: false,
    quiet: true,
    description: 'Enable efficient zero writes using the zeroed-grain GTE feature',
  },
}
