import { damaged } from '@diskgraph/codecs'

/** Bits of a stream, the highest of a byte first. */
export class BitReader {
  readonly #data: Uint8Array
  #at = 0
  #held = 0
  #count = 0

  constructor(data: Uint8Array) {
    this.#data = data
  }

  /** The next `count` bits, 24 at most. EIO behind the end. */
  take(count: number): number {
    while (this.#count < count) {
      if (this.#at >= this.#data.length) throw damaged('the data ends too early')
      this.#held = (this.#held << 8) | (this.#data[this.#at++] as number)
      this.#count += 8
    }
    this.#count -= count
    const value = this.#held >>> this.#count
    this.#held &= (1 << this.#count) - 1
    return value
  }

  /** The next 32 bits. */
  word(): number {
    return this.take(16) * 65536 + this.take(16)
  }

  /** Leaves the rest of a byte out. */
  align(): void {
    this.#count -= this.#count % 8
    this.#held &= (1 << this.#count) - 1
  }

  /** Whether there are no whole bytes any more. */
  get ended(): boolean {
    return this.#at >= this.#data.length && this.#count < 8
  }
}
