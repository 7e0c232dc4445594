import type { OptionSchemas } from '@diskgraph/core/driver'

/** Options of the `file` driver. */
export interface FileOptions {
  /** Path of the file. */
  filename: string
  /** Take QEMU's image locks: `auto` (default) where the system has them. */
  locking?: 'auto' | 'on' | 'off'
  /** Drop the page cache when cached data is invalidated, as after migration. Default true. */
  dropCache?: boolean
  /** Accepted for QEMU's sake; requests always run on the thread pool or are answered at once. */
  aio?: 'threads' | 'native' | 'io_uring'
  /** Accepted for QEMU's sake. */
  aioMaxBatch?: number
}

/** Options of the drivers `host_device`, `host_cdrom` and `host_floppy`. */
export type HostDeviceOptions = FileOptions

/** Settings of a new file. */
export interface FileCreateOptions {
  /** Path of the file. */
  filename: string
  /** Size in bytes. */
  size: number
  /** How much is allocated at once. Default `off`. */
  preallocation?: 'off' | 'falloc' | 'full'
  /** Turn copy-on-write off (btrfs); elsewhere nothing happens. */
  nocow?: boolean
  /** Unit in which space is allocated (XFS); elsewhere a warning is given. 0: the file system decides. */
  extentSizeHint?: number
}

/** Settings for writing a new image onto a block device. */
export interface HostDeviceCreateOptions {
  /** Path of the device. */
  filename: string
  /** Size in bytes; the device must have it. */
  size: number
}

/** {@link FileOptions} with defaults. */
export interface ResolvedFileOptions {
  readonly filename: string
  readonly locking: 'auto' | 'on' | 'off'
  readonly dropCache: boolean
  readonly aio: 'threads' | 'native' | 'io_uring'
}

/** {@link FileCreateOptions} with defaults. */
export interface ResolvedCreateOptions {
  readonly filename: string
  readonly size: number
  readonly preallocation: 'off' | 'falloc' | 'full'
  readonly nocow: boolean
  readonly extentSizeHint?: number
}

export const fileSchemas: OptionSchemas = {
  filename: { type: 'string', default: '', description: 'path of the file (required)' },
  locking: {
    type: 'enum',
    values: ['auto', 'on', 'off'],
    default: 'auto',
    description: 'take image locks that QEMU honours',
  },
  dropCache: {
    type: 'boolean',
    default: true,
    description: 'drop the page cache when cached data is invalidated',
  },
  aio: {
    type: 'enum',
    values: ['threads', 'native', 'io_uring'],
    default: 'threads',
    description: 'accepted for compatibility, no effect; native needs cache.direct',
  },
  aioMaxBatch: { type: 'integer', minimum: 0, description: 'accepted for compatibility, no effect' },
}

const newFilename: OptionSchemas = {
  filename: { type: 'string', required: true, description: 'path of the new file' },
}

export const fileCreateSchemas: OptionSchemas = {
  ...newFilename,
  size: { type: 'integer', size: true, required: true, minimum: 0, description: 'Virtual disk size' },
  nocow: { type: 'boolean', default: false, quiet: true, description: 'Turn off copy-on-write (valid only on btrfs)' },
  preallocation: {
    type: 'enum',
    values: ['off', 'falloc', 'full'],
    default: 'off',
    quiet: true,
    description: 'Preallocation mode (allowed values: off, falloc, full)',
  },
  extentSizeHint: {
    type: 'integer',
    size: true,
    minimum: 0,
    maximum: 2 ** 32 - 1,
    description: 'Extent size hint for the image file, 0 to disable',
  },
}

export const hostDeviceCreateSchemas: OptionSchemas = {
  ...newFilename,
  size: { type: 'integer', size: true, required: true, minimum: 0, description: 'Virtual disk size' },
}
