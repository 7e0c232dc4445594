/**
 * `compress`: every write is stored compressed. Compressed data is whole clusters, so parts of a cluster are written with
 * what the rest of it holds.
 */
import {
  BlockError,
  type Child,
  type ChildHandle,
  defineDriver,
  Flag,
  type Limits,
  Passthrough,
} from '@diskgraph/core/driver'

/** Options of a `compress` node. */
export interface CompressOptions {
  /** The image that is written compressed: of a format that can, qcow2 for one. */
  file: Child
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    compress: { open: CompressOptions }
  }
}

class CompressImage extends Passthrough {
  readonly #clusterSize: number

  constructor(file: ChildHandle, clusterSize: number) {
    super(file)
    this.#clusterSize = clusterSize
  }

  override get limits(): Partial<Limits> {
    const { limits } = this.file
    return { ...limits, alignment: Math.max(limits.alignment, this.#clusterSize) }
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.file.write(offset, buf, flags | Flag.Compressed, signal)
  }
}

/** The driver `compress`. */
export const compress = defineDriver<CompressOptions>()({
  name: 'compress',
  kind: 'filter',
  description: 'Every write is stored compressed.',
  imageMethods: ['write', 'writeZeroes', 'discard', 'truncate', 'blockStatus'],
  options: {
    file: { type: 'child', role: 'filtered', required: true, description: 'The image that is written compressed' },
  },
  async open({ children }) {
    const file = children.require('file')
    if ((file.writeFlags & Flag.Compressed) === 0) {
      const message = `Compression is not supported for the format of '${file.filename}'`
      throw new BlockError('ENOTSUP', message, { node: file.nodeName })
    }
    const { clusterSize = 1 } = await file.info()
    return new CompressImage(file, clusterSize)
  },
})
