/** Codecs for Node. Its own Zstandard comes first: it is there from 22.15 and 23.8 on. */
import { checkedCodec, checkedZlib } from './checked.ts'
import type { Codec, ZlibCodec } from './codec.ts'
import { rawDeflate as nodeDeflate } from './deflate/node.ts'
import { zlib as nodeZlib } from './zlib/node.ts'

export type { Codec, Inflater, ZlibCodec } from './codec.ts'
export { damaged } from './damage.ts'
export { atMost } from './streams.ts'

/** Raw deflate: read with any window, written with one of 4 KiB, which all readers have. */
export const rawDeflate: Codec = checkedCodec(nodeDeflate)

/** Deflate as zlib wraps it. */
export const zlib: ZlibCodec = checkedZlib(nodeZlib)

/** Zstandard: one frame. ENOTSUP where nothing on this platform has it. */
export async function zstd(): Promise<Codec> {
  const { platformZstd } = await import('./zstd/node.ts')
  const { zstdCodec } = await import('./zstd/zstd.ts')
  return checkedCodec(await zstdCodec(await platformZstd()))
}
