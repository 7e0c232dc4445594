/** The vectors that sectors begin with, made of their numbers. */
import { mod } from '@diskgraph/core/driver'
import { type CipherSpec, essivCipher } from './cipher-spec.ts'
import { blockSize, type HashAlgorithm, type Platform } from './platform.ts'

/** The vectors of `count` sectors from number `first` on, 16 bytes each. */
export type SectorVectors = (first: number, count: number) => Uint8Array

/** How sectors are counted in vectors: from `first` on, by `step`. */
interface Counting {
  readonly step: number
  readonly first: number
}

/** The generator that `spec` names, for `key`, which `essiv` makes its own key of. */
export function sectorVectors(
  platform: Platform,
  spec: CipherSpec,
  key: Uint8Array,
  counting: Counting,
): SectorVectors {
  if (spec.ivGenerator === 'plain') return (first, count) => numbers(first, count, false, counting)
  if (spec.ivGenerator === 'plain64') return (first, count) => numbers(first, count, true, counting)
  const hash = spec.ivHash as HashAlgorithm
  const cipher = platform.blockCipher(essivCipher(hash), platform.digest(hash, key))
  return (first, count) => cipher.encrypt(numbers(first, count, true, counting))
}

/** Sector numbers as 16 bytes, the lowest first; `plain` has the low 32 bits alone. */
function numbers(first: number, count: number, wide: boolean, counting: Counting): Uint8Array {
  const bytes = new Uint8Array(count * blockSize)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < count; i++) {
    const sector = counting.first + (first + i) * counting.step
    view.setUint32(i * blockSize, mod(sector, 2 ** 32), true)
    if (wide) view.setUint32(i * blockSize + 4, Math.floor(sector / 2 ** 32), true)
  }
  return bytes
}
