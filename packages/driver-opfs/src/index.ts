import { type DriverDescriptor, defineDriver, maxOffset } from '@diskgraph/core/driver'
import { OpfsImage } from './image.ts'
import { fileHandle, removeFile } from './names.ts'

/** Options of an `opfs` node. */
export interface OpfsOptions {
  /** The file, by the names of its folders and its own, parted by `/`: `disks/overlay.qcow2`. */
  path: string
}

/** Settings of a new file. */
export interface OpfsCreateOptions {
  /** Folders that are missing are made; a file that is there is emptied. */
  path: string
  /** In bytes. Default 0. */
  size?: number
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    opfs: { open: OpfsOptions; create: OpfsCreateOptions }
  }
}

/** The driver `opfs`: a file of the origin private file system, in pages and workers of a browser. */
export const opfs: DriverDescriptor = defineDriver<OpfsOptions, OpfsCreateOptions>()({
  name: 'opfs',
  kind: 'protocol',
  description: "A file of the browser's origin private file system.",
  options: {
    path: { type: 'string', required: true, description: 'The file, with its folders before it' },
  },
  createOptions: {
    path: { type: 'string', required: true, description: 'The file, with its folders before it' },
    size: {
      type: 'integer',
      size: true,
      minimum: 0,
      maximum: maxOffset,
      default: 0,
      description: 'Virtual disk size',
    },
  },
  prefixes: ['opfs'],
  parseFilename: (filename) => ({ path: filename.slice('opfs:'.length) }),
  formatFilename: ({ path }) => `opfs:${path}`,
  async open({ options, readOnly }) {
    return OpfsImage.open(options.path, await fileHandle(options.path, false), readOnly)
  },
  async create({ options }) {
    const image = await OpfsImage.open(options.path, await fileHandle(options.path, true), false)
    try {
      await image.truncate(0)
      await image.truncate(options.size ?? 0)
    } finally {
      await image.close()
    }
  },
  async remove(options) {
    await removeFile((options as unknown as OpfsOptions).path)
  },
})
