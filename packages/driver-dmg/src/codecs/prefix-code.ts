import { damaged } from '@diskgraph/codecs'
import type { BitReader } from './bit-reader.ts'

/** Bits of the longest code. */
const longest = 20

/** A canonical prefix code: codes of a length follow each other, in the order of their symbols. */
export class PrefixCode {
  /** By length: the highest code of it, what to take from a code for its place in `#symbols`. */
  readonly #highest = new Int32Array(longest + 2).fill(-1)
  readonly #offset = new Int32Array(longest + 2)
  readonly #symbols: Uint16Array
  readonly #shortest: number

  /** Of the length of each symbol's code. */
  constructor(lengths: Uint8Array) {
    const counts = new Int32Array(longest + 1)
    for (const length of lengths) counts[length] = (counts[length] as number) + 1
    this.#symbols = new Uint16Array(lengths.length)
    let place = 0
    let code = 0
    let shortest = 0
    for (let length = 1; length <= longest; length++) {
      const count = counts[length] as number
      if (count > 0 && shortest === 0) shortest = length
      this.#offset[length] = code - place
      code += count
      this.#highest[length] = code - 1
      for (let symbol = 0; symbol < lengths.length; symbol++) {
        if (lengths[symbol] === length) this.#symbols[place++] = symbol
      }
      if (code > 2 ** length) throw damaged('more codes than there are')
      code *= 2
    }
    this.#shortest = shortest
  }

  /** The next symbol. EIO for bits that are no code. */
  read(bits: BitReader): number {
    let length = this.#shortest
    for (let code = bits.take(length); length <= longest; code = code * 2 + bits.take(1)) {
      if (code <= (this.#highest[length] as number)) {
        return this.#symbols[code - (this.#offset[length] as number)] as number
      }
      length++
    }
    throw damaged('bits that are no code')
  }
}
