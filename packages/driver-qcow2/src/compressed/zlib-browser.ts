/** Raw deflate in plain code, for browsers. */
import { deflate } from './deflate.ts'
import { inflate } from './inflate.ts'
import type { Zlib } from './read.ts'

/** See {@link Zlib}. */
export const browserZlib: Zlib = {
  async inflate(data, size) {
    return inflate(data, size)
  },

  async deflate(data, limit) {
    return deflate(data, limit)
  },
}
