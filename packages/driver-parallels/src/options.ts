/** The options of the driver. */
import type { Child, SchemasOf } from '@diskgraph/core/driver'

/** Options of a `parallels` node. */
export interface ParallelsOptions {
  /** Where the image stands. */
  file: Child
  /** Read where the image has no cluster. */
  backing?: Child
}

/** Settings of a new image. */
export interface ParallelsCreateOptions {
  file: Child
  /** Virtual size; rounded up to a multiple of 512. */
  size: number
  /** Bytes of a cluster; rounded up to a multiple of 512. Default 1 MiB. */
  clusterSize?: number
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    parallels: { open: ParallelsOptions; create: ParallelsCreateOptions }
  }
}

/** The schemas of {@link ParallelsOptions}. */
export const options: SchemasOf<ParallelsOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where the image stands' },
  backing: { type: 'child', role: 'cow', description: 'Read where the image has no cluster' },
}

/** The schemas of {@link ParallelsCreateOptions}. */
export const createOptions: SchemasOf<ParallelsCreateOptions> = {
  file: { type: 'child', role: 'storage', required: true, description: 'Where to write' },
  clusterSize: {
    type: 'integer',
    size: true,
    minimum: 0,
    default: 2 ** 20,
    description: 'Parallels image cluster size',
  },
  size: { type: 'integer', size: true, minimum: 0, required: true, description: 'Virtual disk size' },
}
