/** Codecs for browsers: raw deflate in plain code, Zstandard by WebAssembly. */
import type { Codec, Inflater } from './codec.ts'

export { adc } from './adc/adc.ts'
export { bzip2 } from './bzip2/bzip2.ts'
export type { Codec, Inflater, ZlibCodec } from './codec.ts'
export { rawDeflate } from './deflate/browser.ts'
export { zlib } from './zlib/browser.ts'

/** Zstandard: one frame. ENOTSUP where nothing on this platform has it. */
export async function zstd(): Promise<Codec> {
  return (await import('./zstd/zstd.ts')).zstdCodec()
}

/** LZMA in streams of xz. ENOTSUP where nothing on this platform has it. */
export async function xz(): Promise<Inflater> {
  return (await import('./xz/xz.ts')).xzInflater()
}
