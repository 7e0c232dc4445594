/**
 * LUKS keeps a key as many stripes that are all needed to get it back, so that a disk which keeps a few old sectors after an
 * erasure gives nothing away (LUKS1 On-Disk Format Specification 1.2.3, section 2.4).
 */
import { digestSizes, type HashAlgorithm, type Platform } from './platform.ts'

/** `key` in `stripes` parts of its length. */
export function splitKey(platform: Platform, hash: HashAlgorithm, key: Uint8Array, stripes: number): Uint8Array {
  const { length } = key
  const material = platform.randomBytes(length * stripes).slice()
  const mixed = mixStripes(platform, hash, material, length)
  const last = material.subarray(length * (stripes - 1))
  for (let i = 0; i < length; i++) last[i] = mixed[i]! ^ key[i]!
  return material
}

/** The key of `length` bytes whose stripes are in `material`. */
export function mergeKey(platform: Platform, hash: HashAlgorithm, material: Uint8Array, length: number): Uint8Array {
  const key = mixStripes(platform, hash, material, length)
  const last = material.subarray(material.length - length)
  for (let i = 0; i < length; i++) key[i] = key[i]! ^ last[i]!
  return key
}

/** All stripes but the last, mixed and diffused one after the other. */
function mixStripes(platform: Platform, hash: HashAlgorithm, material: Uint8Array, length: number): Uint8Array {
  let mixed = new Uint8Array(length)
  for (let at = 0; at < material.length - length; at += length) {
    for (let i = 0; i < length; i++) mixed[i] = mixed[i]! ^ material[at + i]!
    mixed = diffuse(platform, hash, mixed)
  }
  return mixed
}

/** Replaces each piece of a digest's length by the digest of its number and itself. */
function diffuse(platform: Platform, hash: HashAlgorithm, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const size = digestSizes[hash]
  const result = new Uint8Array(data.length)
  for (let at = 0, piece = 0; at < data.length; at += size, piece++) {
    const part = data.subarray(at, at + size)
    const input = new Uint8Array(4 + part.length)
    new DataView(input.buffer).setUint32(0, piece)
    input.set(part, 4)
    result.set(platform.digest(hash, input).subarray(0, part.length), at)
  }
  return result
}
