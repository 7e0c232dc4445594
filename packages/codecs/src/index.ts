/** Codecs for Node. Its own Zstandard comes first: it is there from 22.15 and 23.8 on. */
import type { Codec } from './codec.ts'

export type { Codec, Inflater, ZlibCodec } from './codec.ts'
export { damaged } from './damage.ts'
export { rawDeflate } from './deflate/node.ts'
export { atMost } from './streams.ts'
export { zlib } from './zlib/node.ts'

/** Zstandard: one frame. ENOTSUP where nothing on this platform has it. */
export async function zstd(): Promise<Codec> {
  const { platformZstd } = await import('./zstd/node.ts')
  const { zstdCodec } = await import('./zstd/zstd.ts')
  return zstdCodec(await platformZstd())
}
