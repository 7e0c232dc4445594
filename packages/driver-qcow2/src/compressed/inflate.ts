/**
 * Raw inflate for platforms without zlib. `DecompressionStream` would be faster, but fails on bytes behind the end of
 * the stream, and the length of compressed data is known in whole sectors only.
 */
import { BlockError } from '@diskgraph/core/driver'
import { codesOf, endOfBlock, fixedDistances, fixedLengths, matchDistances, matchLengths } from './deflate-codes.ts'

/**
 * An alphabet. Short codes are looked up by the next `bits` bits of the stream: 16 times the symbol, plus the length of
 * its code. For longer ones there are the symbols in the order of their codes, and how many codes have each length.
 */
interface Alphabet {
  readonly table: Uint16Array
  readonly bits: number
  readonly ordered: Uint16Array
  readonly counts: Uint16Array
}

/** Codes of up to so many bits are looked up; tables for all would take longer to make than a hostile block to read. */
const lookedUp = 9

/** The order in which a block gives the lengths of the codes that its code lengths are written in. */
const lengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

const fixedAlphabets = [alphabet(fixedLengths), alphabet(fixedDistances)] as const

/** Inflates the start of `data` into exactly `size` bytes. EIO when the stream is damaged, or of another length. */
export function inflate(data: Uint8Array, size: number): Uint8Array {
  const bits = new BitReader(data)
  const output = new Output(size)
  for (let last = 0; last === 0 && !bits.ended; ) {
    last = bits.take(1)
    const type = bits.take(2)
    if (type === 0) copyStored(bits, output)
    else if (type === 1) inflateBlock(bits, output, ...fixedAlphabets)
    else if (type === 2) inflateBlock(bits, output, ...readAlphabets(bits))
    else throw damaged('an unknown kind of block')
  }
  if (output.filled !== size) throw new BlockError('EIO', `${output.filled} bytes instead of ${size}`)
  return output.bytes
}

function copyStored(bits: BitReader, output: Output): void {
  bits.align()
  const length = bits.take(16)
  if ((length ^ bits.take(16)) !== 0xffff) throw damaged('a stored block of unclear length')
  output.add(bits.bytes(length))
}

function inflateBlock(bits: BitReader, output: Output, lengths: Alphabet, distances: Alphabet): void {
  for (;;) {
    const symbol = bits.symbol(lengths)
    if (symbol === endOfBlock || bits.ended) return
    if (symbol < endOfBlock) {
      output.push(symbol)
      continue
    }
    const length = bits.step(matchLengths[symbol - endOfBlock - 1])
    const distance = bits.step(matchDistances[bits.symbol(distances)])
    if (bits.ended) return
    output.repeat(distance, length)
  }
}

/** The alphabets of a block that brings its own (section 3.2.7). */
function readAlphabets(bits: BitReader): [Alphabet, Alphabet] {
  const literals = bits.take(5) + 257
  const distances = bits.take(5) + 1
  const given = bits.take(4) + 4
  const own = new Uint8Array(19)
  for (const symbol of lengthOrder.slice(0, given)) own[symbol] = bits.take(3)
  const codes = complete(alphabet(own))
  const lengths = new Uint8Array(literals + distances)
  for (let at = 0; at < lengths.length && !bits.ended; ) {
    const symbol = bits.symbol(codes)
    if (symbol < 16) lengths[at++] = symbol
    else {
      const value = symbol === 16 ? (lengths[at - 1] ?? 0) : 0
      const times = symbol === 16 ? 3 + bits.take(2) : symbol === 17 ? 3 + bits.take(3) : 11 + bits.take(7)
      if (at + times > lengths.length) throw damaged('more code lengths than symbols')
      lengths.fill(value, at, at + times)
      at += times
    }
  }
  return [complete(alphabet(lengths.subarray(0, literals))), complete(alphabet(lengths.subarray(literals)))]
}

function alphabet(lengths: Uint8Array): Alphabet {
  const codes = codesOf(lengths)
  if (codes === undefined) throw damaged('more codes than fit')
  const counts = new Uint16Array(16)
  for (const length of lengths) if (length > 0) counts[length]!++
  const starts = new Uint16Array(17)
  for (let length = 1; length < 16; length++) starts[length + 1] = starts[length]! + counts[length]!
  const ordered = new Uint16Array(lengths.length)
  const bits = Math.min(
    lookedUp,
    Math.max(
      1,
      counts.findLastIndex((count) => count > 0),
    ),
  )
  const table = new Uint16Array(2 ** bits)
  for (const [symbol, code] of codes.entries()) {
    const length = lengths[symbol]!
    if (length === 0) continue
    ordered[starts[length]!++] = symbol
    if (length > bits) continue
    for (let at = code; at < table.length; at += 2 ** length) table[at] = symbol * 16 + length
  }
  return { table, bits, ordered, counts }
}

/** Refuses an alphabet with codes that stand for nothing, but for one that has a single code of one bit, or none. */
function complete(given: Alphabet): Alphabet {
  let used = 0
  for (const [length, count] of given.counts.entries()) used += count * 2 ** (15 - length)
  const longest = given.counts.findLastIndex((count) => count > 0)
  if (used < 2 ** 15 && longest > 1) throw damaged('fewer codes than there could be')
  return given
}

/** The stream, bit by bit. Zeroes follow its end; {@link BitReader.ended} tells when one of them was taken. */
class BitReader {
  readonly #data: Uint8Array
  #at = 0
  #bits = 0
  #count = 0

  constructor(data: Uint8Array) {
    this.#data = data
  }

  get ended(): boolean {
    return this.#at - (this.#count >> 3) > this.#data.length
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
