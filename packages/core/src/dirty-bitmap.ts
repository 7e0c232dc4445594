/** A record of which parts of a node were written, one bit per `granularity` bytes. */
import { div, divUp } from './bytes.ts'

/** Dirty tracking for jobs: every write, zero and discard sets bits; the reader clears them. */
export class DirtyBitmap {
  readonly name: string | undefined
  /** Bytes per bit; a power of two. */
  readonly granularity: number
  #bits: Uint32Array
  #size: number
  #count = 0
  enabled = true

  constructor(size: number, granularity: number, name?: string) {
    this.name = name
    this.granularity = granularity
    this.#size = size
    this.#bits = new Uint32Array(divUp(divUp(size, granularity), 32))
  }

  /** Bytes covered. */
  get size(): number {
    return this.#size
  }

  /** Bytes that are dirty, in whole granules. */
  get dirtyBytes(): number {
    return this.#count * this.granularity
  }

  /** Marks a range; partly touched granules count. */
  set(offset: number, length: number): void {
    if (!this.enabled) return
    this.#change(div(offset, this.granularity), divUp(Math.min(offset + length, this.#size), this.granularity), true)
  }

  /** Clears the granules that lie wholly in the range (or reach past the end of the disk). */
  clear(offset: number, length: number): void {
    const end = offset + length >= this.#size ? this.#bits.length * 32 : div(offset + length, this.granularity)
    this.#change(divUp(offset, this.granularity), end, false)
  }

  /** Whether the granule at `offset` is dirty. */
  get(offset: number): boolean {
    return this.#bit(div(offset, this.granularity))
  }

  /** The first dirty run at or after `offset`, at most `maxLength` bytes; undefined when there is none. */
  next(offset: number, maxLength: number = Number.MAX_SAFE_INTEGER): { offset: number; length: number } | undefined {
    const total = divUp(this.#size, this.granularity)
    let index = div(offset, this.granularity)
    while (index < total && !this.#bit(index)) index += this.#bits[index >>> 5] === 0 ? 32 - (index & 31) : 1
    if (index >= total) return undefined
    let end = index
    const limit = Math.min(total, index + Math.max(1, div(maxLength, this.granularity)))
    while (end < limit && this.#bit(end)) end++
    const start = index * this.granularity
    return { offset: start, length: Math.min(end * this.granularity, this.#size) - start }
  }

  /** Follows the node to a new size; new bytes are clean. */
  resize(size: number): void {
    const bits = new Uint32Array(divUp(divUp(size, this.granularity), 32))
    bits.set(this.#bits.subarray(0, bits.length))
    this.#bits = bits
    this.#size = size
    const total = divUp(size, this.granularity)
    for (let i = total; i < bits.length * 32; i++) this.#write(i, false)
    this.#count = 0
    for (let i = 0; i < total; i++) if (this.#bit(i)) this.#count++
  }

  #change(start: number, end: number, value: boolean): void {
    const limit = Math.min(end, this.#bits.length * 32)
    for (let i = start; i < limit; i++) {
      if (this.#bit(i) === value) continue
      this.#write(i, value)
      this.#count += value ? 1 : -1
    }
  }

  // Indexes of bits stay below 2^32 (8 PiB at 2 MiB granules), so bit operators are safe on them.
  #bit(index: number): boolean {
    return ((this.#bits[index >>> 5] ?? 0) & (1 << (index & 31))) !== 0
  }

  #write(index: number, value: boolean): void {
    const word = index >>> 5
    const mask = 1 << (index & 31)
    this.#bits[word] = value ? (this.#bits[word] as number) | mask : (this.#bits[word] as number) & ~mask
  }
}
