/** Codecs for browsers: raw deflate in plain code, Zstandard by WebAssembly. */
import { checkedCodec, checkedZlib } from './checked.ts'
import type { Codec, ZlibCodec } from './codec.ts'
import { rawDeflate as plainDeflate } from './deflate/browser.ts'
import { zlib as streamZlib } from './zlib/browser.ts'

export type { Codec, Inflater, ZlibCodec } from './codec.ts'
export { damaged } from './damage.ts'
export { atMost } from './streams.ts'

/** Raw deflate: read with any window, written with one of 4 KiB, which all readers have. */
export const rawDeflate: Codec = checkedCodec(plainDeflate)

/** Deflate as zlib wraps it. */
export const zlib: ZlibCodec = checkedZlib(streamZlib)

/** Zstandard: one frame. ENOTSUP where nothing on this platform has it. */
export async function zstd(): Promise<Codec> {
  return checkedCodec(await (await import('./zstd/zstd.ts')).zstdCodec())
}
