/** Codecs for browsers: raw deflate in plain code, Zstandard by WebAssembly. */
import type { Codec } from './codec.ts'

export type { Codec, Inflater, ZlibCodec } from './codec.ts'
export { damaged } from './damage.ts'
export { rawDeflate } from './deflate/browser.ts'
export { atMost } from './streams.ts'
export { zlib } from './zlib/browser.ts'

/** Zstandard: one frame. ENOTSUP where nothing on this platform has it. */
export async function zstd(): Promise<Codec> {
  return (await import('./zstd/zstd.ts')).zstdCodec()
}
