/**
 * Encrypts and decrypts sectors. Calls into the platform's cipher cost more than the work on one sector, so all blocks of a
 * request go through it in one call, and what the modes have besides is done here on 32-bit words:
 *
 *     xts   out = E(in ^ tweak) ^ tweak       tweak of block 0: E2(vector), then doubled in GF(2^128)
 *     cbc   in  = D(out) ^ the block before   (decryption; encryption is a chain, one sector at a time)
 *     ctr   out = in ^ E(vector + i)
 */
import { BlockError } from '@diskgraph/core/driver'
import { type CipherSpec, checkCipherSpec, keySizeOf } from './cipher-spec.ts'
import { type BlockCipher, blockSize, type Platform } from './platform.ts'
import { type SectorVectors, sectorVectors } from './sector-vectors.ts'

const wordsPerBlock = blockSize / 4

/** See the top of this file. */
export class SectorCipher {
  readonly sectorSize: number
  readonly #spec: CipherSpec
  readonly #cipher: BlockCipher
  /** Of XTS: encrypts the vectors. */
  readonly #tweaks: BlockCipher
  readonly #vectors: SectorVectors

  /**
   * `key` has as many bytes as `keySizeOf(spec)` says; it is not kept. `sectorSize` is in bytes, and so is `unit`, in which
   * vectors count the sectors, `first` of them before the first one; by default their own size. EINVAL for anything else.
   */
  constructor(
    platform: Platform,
    spec: CipherSpec,
    key: Uint8Array,
    sectorSize = 512,
    { unit = sectorSize, first = 0 }: { readonly unit?: number; readonly first?: number } = {},
  ) {
    checkCipherSpec(spec)
    const size = keySizeOf(spec)
    if (key.length !== size) {
      throw new BlockError(
        'EINVAL',
        `${spec.algorithm} in mode ${spec.mode} takes ${size} bytes of key, not ${key.length}`,
      )
    }
    if (!Number.isSafeInteger(sectorSize) || sectorSize < blockSize || sectorSize % blockSize !== 0) {
      throw new BlockError('EINVAL', `a sector has a multiple of ${blockSize} bytes, not ${sectorSize}`)
    }
    const own = spec.mode === 'xts' ? size / 2 : size
    this.sectorSize = sectorSize
    this.#spec = spec
    this.#cipher = platform.blockCipher(spec.algorithm, key.subarray(0, own))
    this.#tweaks = own === size ? this.#cipher : platform.blockCipher(spec.algorithm, key.subarray(own, size))
    this.#vectors = sectorVectors(platform, spec, key.subarray(0, size), { step: sectorSize / unit, first })
  }

  /** The whole sectors of `data`, of which the first has the number `sector`, as they are stored: new bytes. */
  encrypt(sector: number, data: Uint8Array): Uint8Array {
    this.#check(sector, data)
    switch (this.#spec.mode) {
      case 'ecb':
        return this.#cipher.encrypt(data)
      case 'cbc':
        return this.#encryptChains(sector, data)
      case 'ctr':
        return this.#addStream(sector, data)
      case 'xts':
        return this.#tweaked(sector, data, (blocks) => this.#cipher.encrypt(blocks))
    }
  }

  /** Turns stored sectors into what they mean, in place. */
  decrypt(sector: number, data: Uint8Array): void {
    this.#check(sector, data)
    if (data.length > 0) data.set(this.#decrypted(sector, data))
  }

  #check(sector: number, data: Uint8Array): void {
    const last = sector + data.length / this.sectorSize
    if (sector >= 0 && Number.isSafeInteger(sector) && Number.isSafeInteger(last)) return
    const what = `${data.length} bytes from sector ${sector} on`
    throw new BlockError('EINVAL', `${what}: sectors have ${this.sectorSize} bytes, and numbers from 0 on`)
  }

  #decrypted(sector: number, data: Uint8Array): Uint8Array {
    switch (this.#spec.mode) {
      case 'ecb':
        return this.#cipher.decrypt(data)
      case 'cbc':
        return this.#decryptChains(sector, data)
      case 'ctr':
        return this.#addStream(sector, data)
      case 'xts':
        return this.#tweaked(sector, data, (blocks) => this.#cipher.decrypt(blocks))
    }
  }

  #tweaked(sector: number, data: Uint8Array, convert: (blocks: Uint8Array) => Uint8Array): Uint8Array {
    const count = data.length / this.sectorSize
    const tweaks = tweakWords(this.#tweaks.encrypt(this.#vectors(sector, count)), this.sectorSize / blockSize)
    const mixed = wordsOf(data, true)
    mixIn(mixed, tweaks)
    const converted = wordsOf(convert(bytesOf(mixed)), false)
    mixIn(converted, tweaks)
    return bytesOf(converted)
  }

  #encryptChains(sector: number, data: Uint8Array): Uint8Array {
    const { sectorSize } = this
    const result = new Uint8Array(data.length)
    const vectors = this.#vectors(sector, data.length / sectorSize)
    for (let at = 0, i = 0; at < data.length; at += sectorSize, i += blockSize) {
      const chain = this.#cipher.encryptChain(vectors.subarray(i, i + blockSize), data.subarray(at, at + sectorSize))
      result.set(chain, at)
    }
    return result
  }

  #decryptChains(sector: number, data: Uint8Array): Uint8Array {
    const { sectorSize } = this
    const before = new Uint8Array(data.length)
    before.set(data.subarray(0, data.length - blockSize), blockSize)
    const vectors = this.#vectors(sector, data.length / sectorSize)
    for (let at = 0, i = 0; at < data.length; at += sectorSize, i += blockSize) {
      before.set(vectors.subarray(i, i + blockSize), at)
    }
    const plain = wordsOf(this.#cipher.decrypt(data), false)
    mixIn(plain, wordsOf(before, false))
    return bytesOf(plain)
  }

  #addStream(sector: number, data: Uint8Array): Uint8Array {
    const { sectorSize } = this
    const counters = new Uint8Array(data.length)
    const vectors = this.#vectors(sector, data.length / sectorSize)
    for (let at = 0, i = 0; at < data.length; at += sectorSize, i += blockSize) {
      const counter = vectors.slice(i, i + blockSize)
      for (let block = at; block < at + sectorSize; block += blockSize) {
        counters.set(counter, block)
        increment(counter)
      }
    }
    const stream = wordsOf(this.#cipher.encrypt(counters), false)
    mixIn(stream, wordsOf(data, false))
    return bytesOf(stream)
  }
}

/** The tweaks of all blocks, of sectors with `blocks` blocks, whose first are in `first`. */
function tweakWords(first: Uint8Array, blocks: number): Uint32Array {
  const starts = wordsOf(first, false)
  const sectors = starts.length / wordsPerBlock
  const tweaks = new Uint32Array(sectors * blocks * wordsPerBlock)
  let out = 0
  for (let sector = 0; sector < sectors; sector++) {
    const at = sector * wordsPerBlock
    let t0 = starts[at]!
    let t1 = starts[at + 1]!
    let t2 = starts[at + 2]!
    let t3 = starts[at + 3]!
    for (let block = 0; block < blocks; block++) {
      tweaks[out++] = t0
      tweaks[out++] = t1
      tweaks[out++] = t2
      tweaks[out++] = t3
      const carry = t3 >>> 31
      t3 = (t3 << 1) | (t2 >>> 31)
      t2 = (t2 << 1) | (t1 >>> 31)
      t1 = (t1 << 1) | (t0 >>> 31)
      t0 = (t0 << 1) ^ (carry * 0x87)
    }
  }
  return tweaks
}

function mixIn(words: Uint32Array, other: Uint32Array): void {
  for (let i = 0; i < words.length; i++) words[i] = words[i]! ^ other[i]!
}

/** `bytes` as words in the order of the machine, which is little-endian wherever JavaScript runs; a copy where asked or needed. */
function wordsOf(bytes: Uint8Array, copy: boolean): Uint32Array {
  if (!copy && bytes.byteOffset % 4 === 0) return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  const words = new Uint32Array(bytes.length / 4)
  bytesOf(words).set(bytes)
  return words
}

function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
}

/** Adds one to a number whose highest byte is first. */
function increment(counter: Uint8Array): void {
  for (let i = counter.length - 1; i >= 0; i--) {
    counter[i] = (counter[i]! + 1) & 0xff
    if (counter[i] !== 0) return
  }
}
