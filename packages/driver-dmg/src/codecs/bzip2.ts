/**
 * bzip2, as it is read. Source: the description of the format by J. Tsai, and files that `bzip2` wrote.
 *
 *     BZh1 … BZh9 │ block │ block … │ 177245385090, sum of all │ (another stream)
 *
 *     a block:  314159265359 │ sum │ 0 │ start │ bytes that occur │ codes, and which when │ symbols
 *               symbols → runs and recent bytes → sorted rotations → runs of 4 and more → bytes
 */

import { damaged, type Inflater } from '@diskgraph/codecs'
import { BitReader } from './bit-reader.ts'
import { PrefixCode } from './prefix-code.ts'

const signature = 0x425a68
const blockStart = [0x314159, 0x265359] as const
const streamEnd = [0x177245, 0x385090] as const
/** Symbols after which another code may be used. */
const groupSize = 50
/** A block of level 1, and what a level has more. */
const levelSize = 100_000

/** See the top of this file. */
export const bzip2: Inflater = {
  async inflate(data, size) {
    const output = new Output(size)
    const bits = new BitReader(data)
    do {
      readStream(bits, output)
      bits.align()
    } while (!bits.ended)
    return output.bytes.subarray(0, output.end)
  },
}

/** What has been decoded, and the sum over it. */
class Output {
  readonly bytes: Uint8Array
  end = 0
  #sum = -1

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
  }

  add(byte: number, count: number): void {
    if (this.end + count > this.bytes.length) {
      throw damaged(`the data comes to more than ${this.bytes.length} bytes`)
    }
    for (let i = 0; i < count; i++) {
      this.bytes[this.end++] = byte
      this.#sum = (this.#sum << 8) ^ (sums[(this.#sum >>> 24) ^ byte] as number)
    }
  }

  /** The sum since it was asked last. */
  takeSum(): number {
    const sum = ~this.#sum >>> 0
    this.#sum = -1
    return sum
  }
}

/** CRC-32 with the highest bit first: what each byte adds. */
const sums = Int32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte << 24
  for (let i = 0; i < 8; i++) sum = (sum << 1) ^ (sum < 0 ? 0x04c11db7 : 0)
  return sum
})

function readStream(bits: BitReader, output: Output): void {
  if (bits.take(24) !== signature) throw damaged('no stream of bzip2')
  const level = bits.take(8) - 0x30
  if (level < 1 || level > 9) throw damaged('a level that bzip2 does not have')
  let all = 0
  for (;;) {
    const mark = [bits.take(24), bits.take(24)]
    const sum = bits.word()
    if (mark[0] === streamEnd[0] && mark[1] === streamEnd[1]) {
      if (sum !== all) throw damaged('the sum of the stream is wrong')
      return
    }
    if (mark[0] !== blockStart[0] || mark[1] !== blockStart[1]) throw damaged('no block where one is due')
    readBlock(bits, level * levelSize, output)
    if (output.takeSum() !== sum) throw damaged('the sum of a block is wrong')
    all = (((all << 1) | (all >>> 31)) ^ sum) >>> 0
  }
}

function readBlock(bits: BitReader, most: number, output: Output): void {
  if (bits.take(1) !== 0) throw damaged('a block of a version of bzip2 before 0.9.5')
  const start = bits.take(24)
  const recent = readOccurring(bits)
  const { codes, selectors } = readCodes(bits, recent.length + 2)
  const { sorted, counts, length } = readSymbols(bits, codes, selectors, recent, most)
  if (start >= length) throw damaged('a block that starts behind its end')
  writeRotation(sorted, counts, length, start, output)
}

/** The bytes that occur, in their order. */
function readOccurring(bits: BitReader): number[] {
  const ranges = bits.take(16)
  const found: number[] = []
  for (let range = 0; range < 16; range++) {
    if ((ranges & (0x8000 >> range)) === 0) continue
    const bytes = bits.take(16)
    for (let i = 0; i < 16; i++) if ((bytes & (0x8000 >> i)) !== 0) found.push(range * 16 + i)
  }
  if (found.length === 0) throw damaged('a block without bytes')
  return found
}

function readCodes(bits: BitReader, symbols: number): { codes: PrefixCode[]; selectors: Uint8Array } {
  const count = bits.take(3)
  if (count < 2 || count > 6) throw damaged(`${count} codes in a block`)
  const selectors = new Uint8Array(bits.take(15))
  const order = Array.from({ length: count }, (_, i) => i)
  for (let i = 0; i < selectors.length; i++) {
    let place = 0
    while (bits.take(1) === 1) if (++place >= count) throw damaged('a code that is not there')
    const [code] = order.splice(place, 1) as [number]
    order.unshift(code)
    selectors[i] = code
  }
  const codes = order.map(() => {
    const lengths = new Uint8Array(symbols)
    let length = bits.take(5)
    for (let symbol = 0; symbol < symbols; symbol++) {
      while (bits.take(1) === 1) {
        length += bits.take(1) === 1 ? -1 : 1
        if (length < 1 || length > 20) throw damaged('a code of a length that bzip2 does not have')
      }
      if (length < 1 || length > 20) throw damaged('a code of a length that bzip2 does not have')
      lengths[symbol] = length
    }
    return new PrefixCode(lengths)
  })
  return { codes, selectors }
}

/** The last bytes of the sorted rotations, and how often each occurs. */
function readSymbols(
  bits: BitReader,
  codes: readonly PrefixCode[],
  selectors: Uint8Array,
  recent: number[],
  most: number,
): { sorted: Uint32Array; counts: Uint32Array; length: number } {
  const sorted = new Uint32Array(most)
  const counts = new Uint32Array(256)
  const lastSymbol = recent.length + 1
  let length = 0
  let run = 0
  let weight = 1
  const add = (byte: number, count: number): void => {
    if (length + count > most) throw damaged('a block that is larger than its level')
    sorted.fill(byte, length, length + count)
    counts[byte] = (counts[byte] as number) + count
    length += count
  }
  for (let group = 0; ; group++) {
    const code = codes[selectors[group] as number]
    if (code === undefined) throw damaged('a block with more symbols than it says')
    for (let i = 0; i < groupSize; i++) {
      const symbol = code.read(bits)
      if (symbol < 2) {
        run += weight * (symbol + 1)
        weight *= 2
        if (run > most) throw damaged('a block that is larger than its level')
        continue
      }
      if (run > 0) add(recent[0] as number, run)
      run = 0
      weight = 1
      if (symbol === lastSymbol) return { sorted, counts, length }
      const byte = recent[symbol - 1] as number
      recent.copyWithin(1, 0, symbol - 1)
      recent[0] = byte
      add(byte, 1)
    }
  }
}

/** Follows the rotation from `start` on, and writes its bytes, with what runs of four stand for. */
function writeRotation(links: Uint32Array, counts: Uint32Array, length: number, start: number, output: Output): void {
  let before = 0
  const places = counts.map((count) => {
    before += count
    return before - count
  })
  // The low byte is the byte at a place, what is above it the place that follows.
  for (let i = 0; i < length; i++) {
    const byte = (links[i] as number) & 0xff
    const place = places[byte] as number
    places[byte] = place + 1
    links[place] = (links[place] as number) | (i << 8)
  }
  let link = (links[start] as number) >>> 8
  let last = -1
  let same = 0
  for (let i = 0; i < length; i++) {
    const entry = links[link] as number
    const byte = entry & 0xff
    link = entry >>> 8
    if (same === 4) {
      output.add(last, byte)
      same = 0
      last = -1
      continue
    }
    same = byte === last ? same + 1 : 1
    last = byte
    output.add(byte, 1)
  }
}
