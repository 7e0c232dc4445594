/** Codecs for browsers: raw deflate in plain code, Zstandard by WebAssembly. */
import { deflate } from './deflate.ts'
import { inflate } from './inflate.ts'
import type { Codec, Codecs } from './read.ts'

/** See {@link Codec}. */
export const browserZlib: Codec = {
  async inflate(data, size) {
    return inflate(data, size)
  },

  async deflate(data, limit) {
    return deflate(data, limit)
  },
}

/** See {@link Codecs}. */
export const browserCodecs: Codecs = {
  zlib: browserZlib,
  zstd: async () => (await import('./zstd.ts')).zstdCodec(),
}
