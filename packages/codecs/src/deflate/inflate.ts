/**
 * Raw inflate for platforms without zlib. `DecompressionStream` would be faster, but fails on bytes behind the end of
 * the stream, and the length of compressed data is known in whole sectors only.
 */
import { BlockError } from '@diskgraph/core/driver'
import { endOfBlock, fixedLengths, matchDistances, matchLengths, reversed } from './codes.ts'

/** Codes of up to so many bits are looked up; tables for all would take longer to make than a hostile block to read. */
const lookedUp = 9
/** The most symbols that an alphabet has. */
const mostSymbols = 2 ** 5 + 256

/**
 * An alphabet. Short codes are looked up by the next `bits` bits of the stream: 16 times the symbol, plus the length of
 * its code. For longer ones there are the symbols in the order of their codes, and how many codes have each length.
 *
 * A stream may consist of blocks of a few bytes that bring alphabets and no data. So an alphabet is used again for the
 * next block, and takes one pass over the lengths, and one over its table where that is short.
 */
class Alphabet {
  readonly table = new Uint16Array(2 ** lookedUp)
  bits = 1
  readonly ordered = new Uint16Array(mostSymbols)
  readonly counts = new Uint16Array(16)
  /** Per length: the next code of it, and its place among the symbols in order. */
  readonly #next = new Uint16Array(16)
  readonly #places = new Uint16Array(16)

  /** Takes the lengths from `start` to `end` for those of its symbols. EIO for more codes than fit, or fewer. */
  set(lengths: Uint8Array, start: number, end: number): void {
    const { counts } = this
    let longest = 0
    counts.fill(0)
    for (let at = start; at < end; at++) {
      const length = lengths[at]!
      counts[length]!++
      if (length > longest) longest = length
    }
    counts[0] = 0
    this.#number(longest)
    this.bits = Math.min(lookedUp, Math.max(1, longest))
    this.table.fill(0, 0, 1 << this.bits)
    for (let at = start; at < end; at++) {
      const length = lengths[at]!
      if (length !== 0) this.#enter(at - start, length)
    }
  }

  /** Finds the first code of each length up to the longest. */
  #number(longest: number): void {
    let code = 0
    let place = 0
    for (let length = 1; length <= longest; length++) {
      const count = this.counts[length]!
      code *= 2
      this.#next[length] = code
      this.#places[length] = place
      place += count
      code += count
      if (code > 1 << length) throw damaged('more codes than fit')
    }
    // Codes that stand for nothing are for an alphabet of a single one of one bit, or of none.
    if (code < 1 << longest && longest > 1) throw damaged('fewer codes than there could be')
  }

  #enter(symbol: number, length: number): void {
    const { table, bits } = this
    this.ordered[this.#places[length]!++] = symbol
    const code = this.#next[length]!++
    if (length > bits) return
    const entry = symbol * 16 + length
    for (let at = reversed(code, length); at < 1 << bits; at += 1 << length) table[at] = entry
  }
}

/** What the blocks of one stream bring with them. */
class OwnAlphabets {
  readonly codes = new Alphabet()
  readonly lengths = new Alphabet()
  readonly distances = new Alphabet()
  readonly #codeLengths = new Uint8Array(19)
  readonly #given = new Uint8Array(mostSymbols + 2 ** 5)

  /** Reads the alphabets of a block (section 3.2.7). */
  read(bits: BitReader): void {
    const literals = bits.take(5) + 257
    const all = literals + bits.take(5) + 1
    this.#readCodes(bits)
    const given = this.#given
    for (let at = 0; at < all; ) {
      const symbol = bits.symbol(this.codes)
      if (symbol < 16) given[at++] = symbol
      else {
        const value = symbol === 16 && at > 0 ? given[at - 1]! : 0
        const times = symbol === 16 ? 3 + bits.take(2) : symbol === 17 ? 3 + bits.take(3) : 11 + bits.take(7)
        if (at + times > all) throw damaged('more code lengths than symbols')
        given.fill(value, at, at + times)
        at += times
      }
    }
    this.lengths.set(given, 0, literals)
    this.distances.set(given, literals, all)
  }

  /** Reads the alphabet that the code lengths are written in. */
  #readCodes(bits: BitReader): void {
    const given = bits.take(4) + 4
    this.#codeLengths.fill(0)
    for (let i = 0; i < given; i++) this.#codeLengths[lengthOrder[i]!] = bits.take(3)
    this.codes.set(this.#codeLengths, 0, 19)
  }
}

/** The order in which a block gives the lengths of the codes that its code lengths are written in. */
const lengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

let fixed: Alphabets | undefined

/** Inflates the start of `data` into exactly `size` bytes. EIO when the stream is damaged, or of another length. */
export function inflate(data: Uint8Array, size: number): Uint8Array {
  const bits = new BitReader(data)
  const output = new Output(size)
  try {
    inflateBlocks(bits, output)
  } catch (error) {
    // As with zlib, all bytes may be there before the stream says that it ends.
    if (error !== endOfStream) throw error
  }
  if (output.filled !== size) throw new BlockError('EIO', `${output.filled} bytes instead of ${size}`)
  return output.bytes
}

function inflateBlocks(bits: BitReader, output: Output): void {
  let own: OwnAlphabets | undefined
  for (let last = 0; last === 0; ) {
    last = bits.take(1)
    const type = bits.take(2)
    if (type === 0) copyStored(bits, output)
    else if (type === 1) inflateBlock(bits, output, fixedAlphabets())
    else if (type === 2) {
      own ??= new OwnAlphabets()
      own.read(bits)
      inflateBlock(bits, output, own)
    } else throw damaged('an unknown kind of block')
  }
}

function copyStored(bits: BitReader, output: Output): void {
  bits.align()
  const length = bits.take(16)
  if ((length ^ bits.take(16)) !== 0xffff) throw damaged('a stored block of unclear length')
  output.add(bits.bytes(length))
}

function fixedAlphabets(): Alphabets {
  if (fixed === undefined) {
    fixed = { lengths: new Alphabet(), distances: new Alphabet() }
    fixed.lengths.set(fixedLengths, 0, fixedLengths.length)
    // Two of the 32 distances stand for nothing.
    fixed.distances.set(new Uint8Array(32).fill(5), 0, 32)
  }
  return fixed
}

interface Alphabets {
  readonly lengths: Alphabet
  readonly distances: Alphabet
}

function inflateBlock(bits: BitReader, output: Output, { lengths, distances }: Alphabets): void {
  for (;;) {
    const symbol = bits.symbol(lengths)
    if (symbol === endOfBlock) return
    if (symbol < endOfBlock) {
      output.push(symbol)
      continue
    }
    const length = bits.step(matchLengths[symbol - endOfBlock - 1])
    const distance = bits.step(matchDistances[bits.symbol(distances)])
    output.repeat(distance, length)
  }
}

/** Thrown when more is asked of the stream than there is. */
const endOfStream = new BlockError('EIO', 'the compressed data ends too early')

/** The stream, bit by bit. */
class BitReader {
  readonly #data: Uint8Array
  #at = 0
  #bits = 0
  #count = 0

  constructor(data: Uint8Array) {
    this.#data = data
  }

  take(count: number): number {
    this.#need(count)
    const result = this.#bits & ((1 << count) - 1)
    this.#drop(count)
    return result
  }

  symbol(alphabet: Alphabet): number {
    const { table, bits } = alphabet
    this.#need(15)
    const entry = table[this.#bits & ((1 << bits) - 1)]!
    if (entry === 0) return this.#longSymbol(alphabet)
    this.#drop(entry & 15)
    return entry >> 4
  }

  /** A code that is too long to be looked up: codes of one length are numbers that follow each other. */
  #longSymbol({ ordered, counts }: Alphabet): number {
    let code = 0
    let first = 0
    let before = 0
    for (let length = 1; length < 16; length++) {
      code = code * 2 + ((this.#bits >> (length - 1)) & 1)
      const count = counts[length]!
      if (code - first < count) {
        this.#drop(length)
        return ordered[before + code - first]!
      }
      before += count
      first = (first + count) * 2
    }
    throw damaged('a code that stands for nothing')
  }

  step(step: { readonly base: number; readonly bits: number } | undefined): number {
    if (step === undefined) throw damaged('a symbol that stands for nothing')
    return step.base + this.take(step.bits)
  }

  align(): void {
    this.#drop(this.#count & 7)
  }

  /** The next bytes; fewer at the end. The reader is aligned. */
  bytes(length: number): Uint8Array {
    const start = this.#at - (this.#count >> 3)
    this.#at = start + length
    this.#bits = 0
    this.#count = 0
    return this.#data.subarray(start, this.#at)
  }

  #need(count: number): void {
    for (; this.#count < count; this.#count += 8) this.#bits |= (this.#data[this.#at++] ?? 0) << this.#count
  }

  #drop(count: number): void {
    this.#bits >>>= count
    this.#count -= count
    // Zeroes behind the end may be looked at, but not taken.
    if (this.#at > this.#data.length && this.#at - (this.#count >> 3) > this.#data.length) throw endOfStream
  }
}

/** What has been inflated. EIO when it would become longer than `size`. */
class Output {
  readonly bytes: Uint8Array
  filled = 0

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
  }

  push(byte: number): void {
    if (this.filled === this.bytes.length) throw this.#tooLong()
    this.bytes[this.filled++] = byte
  }

  add(bytes: Uint8Array): void {
    if (bytes.length > this.bytes.length - this.filled) throw this.#tooLong()
    this.bytes.set(bytes, this.filled)
    this.filled += bytes.length
  }

  /** The source may run into what is being written: then it repeats. */
  repeat(distance: number, length: number): void {
    const { bytes, filled } = this
    if (distance > filled) throw damaged('a match before the start')
    if (length > bytes.length - filled) throw this.#tooLong()
    for (let at = filled; at < filled + length; at++) bytes[at] = bytes[at - distance]!
    this.filled += length
  }

  #tooLong(): BlockError {
    return new BlockError('EIO', `more than ${this.bytes.length} bytes`)
  }
}

function damaged(what: string): BlockError {
  return new BlockError('EIO', `the compressed data has ${what}`)
}
