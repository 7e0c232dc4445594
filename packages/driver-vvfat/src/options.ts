import type { SchemasOf } from '@diskgraph/core/driver'

/** Options of a `vvfat` node. */
export interface VvfatOptions {
  /** The directory that is shown (required). */
  dir?: string
  /** Bits of an entry of the FAT: 12, 16 or 32. Default 0: 12 for a floppy disk, else 16. */
  fatType?: number
  /** A disk without partitions, of a floppy disk's size. Default false: a hard disk with one partition. */
  floppy?: boolean
  /** What is written goes into the directory. Default false: the disk is read-only. */
  rw?: boolean
  /** Label of the volume, 11 bytes at most. Default `QEMU VVFAT`. */
  label?: string
}

export const schemas: SchemasOf<VvfatOptions> = {
  dir: { type: 'string', strong: true, description: 'Directory that is shown (required)' },
  fatType: {
    type: 'integer',
    default: 0,
    strong: true,
    description: 'FAT type: 12, 16 or 32; 0: 12 for a floppy disk, else 16',
  },
  floppy: { type: 'boolean', default: false, strong: true, description: 'Show a floppy disk instead of a hard disk' },
  rw: { type: 'boolean', default: false, strong: true, description: 'What is written goes into the directory' },
  label: { type: 'string', strong: true, description: 'Label of the volume, `QEMU VVFAT` by default' },
}
