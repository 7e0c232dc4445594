/** Codecs for Node, whose own Zstandard comes first: it is there from 22.15 and 23.8 on. */
import type { Codecs } from './read.ts'
import { nodeZlib } from './zlib-node.ts'

/** See {@link Codecs}. */
export const nodeCodecs: Codecs = {
  zlib: nodeZlib,
  async zstd() {
    const { platformZstd } = await import('./zstd-node.ts')
    const { zstdCodec } = await import('./zstd.ts')
    return zstdCodec(await platformZstd())
  },
}
