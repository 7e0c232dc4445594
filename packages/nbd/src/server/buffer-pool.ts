/**
 * Memory for long replies and payloads, which the connections of a server share and use again. What is not kept is given
 * back at once: left to the collector, the memory of clients that were cut off would add up to that of those who follow.
 */

/** Memory of a payload or of replies; `holds` counts the places that are in use. */
export interface Slab {
  readonly bytes: Uint8Array
  /** Has places for several replies. */
  readonly shared: boolean
  holds: number
}

/** Lengths are powers of two of this many bytes, and room for headers. */
const least = 65_536
const headers = 4096
/** Longer buffers are not kept. */
const longestKept = 4 * 1024 * 1024
/** Bytes that are kept, together. */
const mostKept = 16 * 1024 * 1024

/** See the top of the file. */
export class BufferPool {
  /** Free ones by length. */
  readonly #free = new Map<number, Slab[]>()
  #kept = 0

  /** A buffer of at least `length` bytes, held once. */
  take(length: number): Slab {
    let size = least
    while (size + headers < length) size *= 2
    const rounded = size > longestKept ? length : size + headers
    const found = this.#free.get(rounded)?.pop()
    if (found === undefined) return { bytes: new Uint8Array(rounded), shared: false, holds: 1 }
    this.#kept -= rounded
    found.holds = 1
    return found
  }

  /** Takes a buffer back, with which nobody is at work any more: it may be gone after this. */
  keep(slab: Slab): void {
    const { length } = slab.bytes
    if (length > longestKept + headers || this.#kept + length > mostKept) {
      free(slab.bytes.buffer as ArrayBuffer)
      return
    }
    this.#kept += length
    const others = this.#free.get(length)
    if (others === undefined) this.#free.set(length, [slab])
    else others.push(slab)
  }
}

/** Moves the memory of `buffer` to one that is young and unused: those are collected first, and often. */
function free(buffer: ArrayBuffer): void {
  structuredClone(buffer, { transfer: [buffer] })
}
