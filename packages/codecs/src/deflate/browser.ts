/** Raw deflate in plain code. */
import type { Codec } from '../codec.ts'
import { deflate } from './deflate.ts'
import { inflate } from './inflate.ts'

/** Raw deflate: read with any window, written with one of 4 KiB, which all readers have. */
export const rawDeflate: Codec = {
  async inflate(data, size) {
    return inflate(data, size)
  },

  async deflate(data, limit) {
    return deflate(data, limit)
  },
}
