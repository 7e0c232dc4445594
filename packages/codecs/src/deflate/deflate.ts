/**
 * Raw deflate for platforms without zlib. `CompressionStream` cannot be used: readers of qcow2 may have a window of
 * 4 KiB, and it always takes 32. The result is one block with fixed codes; matches are looked for in chains of places
 * that have the same hash of three bytes.
 */
import { codesOf, endOfBlock, fixedDistances, fixedLengths, matchDistances, matchLengths, windowBits } from './codes.ts'

const windowSize = 2 ** windowBits
const shortestMatch = 3
const longestMatch = 258
/** Places of one hash that are compared at most. */
const longestChain = 32
const hashBits = 13

const codes = codesOf(fixedLengths)
const distanceCodes = codesOf(fixedDistances)

/** Compresses `data`; undefined when the result would not be shorter than `limit` bytes. */
export function deflate(data: Uint8Array, limit: number): Uint8Array | undefined {
  const bits = new BitWriter(limit)
  const matches = new Matches(data)
  bits.put(0b011, 3) // the last block, with fixed codes
  for (let at = 0; at < data.length && !bits.full; ) {
    const length = matches.find(at)
    if (length === 0) putSymbol(bits, data[at]!)
    else putMatch(bits, length, matches.distance)
    for (const end = at + Math.max(1, length); at < end; at++) matches.add(at)
  }
  putSymbol(bits, endOfBlock)
  return bits.finish()
}

function putMatch(bits: BitWriter, length: number, distance: number): void {
  const near = matchLengths.findLastIndex(({ base }) => base <= length)
  putSymbol(bits, endOfBlock + 1 + near)
  bits.put(length - matchLengths[near]!.base, matchLengths[near]!.bits)
  const far = matchDistances.findLastIndex(({ base }) => base <= distance)
  bits.put(distanceCodes[far]!, fixedDistances[far]!)
  bits.put(distance - matchDistances[far]!.base, matchDistances[far]!.bits)
}

function putSymbol(bits: BitWriter, symbol: number): void {
  bits.put(codes[symbol]!, fixedLengths[symbol]!)
}

/** Finds what has stood before, at most a window ago. Places are kept plus one: 0 is none. */
class Matches {
  readonly #data: Uint8Array
  readonly #newest = new Uint32Array(2 ** hashBits)
  readonly #older = new Uint32Array(windowSize)
  /** How far back the last match was. */
  distance = 0

  constructor(data: Uint8Array) {
    this.#data = data
  }

  /** Length of the longest match at `at`; 0 without one. */
  find(at: number): number {
    const data = this.#data
    const most = Math.min(longestMatch, data.length - at)
    let longest = shortestMatch - 1
    let place = this.#newest[this.#hash(at)]!
    for (let tries = longestChain; tries > 0 && place > 0 && at - place < windowSize && longest < most; tries--) {
      const from = place - 1
      let length = 0
      while (length < most && data[from + length] === data[at + length]) length++
      if (length > longest) {
        longest = length
        this.distance = at - from
      }
      place = this.#older[from % windowSize]!
      if (place > from) break
    }
    return longest < shortestMatch ? 0 : longest
  }

  add(at: number): void {
    const hash = this.#hash(at)
    this.#older[at % windowSize] = this.#newest[hash]!
    this.#newest[hash] = at + 1
  }

  #hash(at: number): number {
    const data = this.#data
    const three = data[at]! | ((data[at + 1] ?? 0) << 8) | ((data[at + 2] ?? 0) << 16)
    return Math.imul(three, 0x9e3779b1) >>> (32 - hashBits)
  }
}

/** Bits of the stream, the lowest first, in at most `limit` - 1 bytes. */
class BitWriter {
  readonly #bytes: Uint8Array
  #filled = 0
  #bits = 0
  #count = 0

  constructor(limit: number) {
    this.#bytes = new Uint8Array(limit)
  }

  /** Whether more was put than there is room for. */
  get full(): boolean {
    return this.#filled >= this.#bytes.length
  }

  put(value: number, count: number): void {
    this.#bits |= value << this.#count
    this.#count += count
    for (; this.#count >= 8; this.#count -= 8) {
      this.#bytes[this.#filled++] = this.#bits
      this.#bits >>>= 8
    }
  }

  finish(): Uint8Array | undefined {
    this.put(0, 7)
    return this.full ? undefined : this.#bytes.slice(0, this.#filled)
  }
}
