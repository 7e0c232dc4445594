/**
 * Sparse bytes in memory.
 *
 * Pages of 4 KiB stand in chunks of 1,024 (4 MiB); a chunk or page that is missing reads as zeroes. A lookup is one
 * Map access per 4 MiB and one array access per page. Everything is synchronous, so each call is atomic. Bytes
 * past `size` in the last page are always zero, so that growing needs no clearing.
 */
import { div, mod } from '@diskgraph/core/driver'

const pageSize = 4096
const pagesPerChunk = 1024
const chunkSize = pageSize * pagesPerChunk

type Chunk = (Uint8Array | undefined)[]

/** A run of pages that are all stored or all missing. */
export interface StoredRun {
  readonly length: number
  readonly stored: boolean
}

let created = 0

/** The bytes of a RAM disk. They stay while this object is referenced, whatever nodes come and go. */
export class MemoryStorage {
  /** Distinguishes this storage from all others of the process. */
  readonly id: number = ++created
  readonly #chunks = new Map<number, Chunk>()
  #size: number
  #pages = 0

  constructor(size = 0) {
    this.#size = size
  }

  /** Size in bytes; writes past it grow the storage. */
  get size(): number {
    return this.#size
  }

  /** Bytes of memory that the stored pages take. */
  get allocatedSize(): number {
    return this.#pages * pageSize
  }

  /** Fills `buf` from `offset`; what lies past the end reads as zeroes. */
  read(offset: number, buf: Uint8Array): void {
    for (let at = 0; at < buf.length; ) {
      const start = mod(offset + at, pageSize)
      const length = Math.min(pageSize - start, buf.length - at)
      const page = this.#page(offset + at)
      if (page === undefined) buf.fill(0, at, at + length)
      else buf.set(length === pageSize ? page : page.subarray(start, start + length), at)
      at += length
    }
  }

  /** Stores `buf` at `offset`, and grows to its end. */
  write(offset: number, buf: Uint8Array): void {
    for (let at = 0; at < buf.length; ) {
      const start = mod(offset + at, pageSize)
      const length = Math.min(pageSize - start, buf.length - at)
      this.#ownPage(offset + at).set(buf.subarray(at, at + length), start)
      at += length
    }
    if (offset + buf.length > this.#size) this.#size = offset + buf.length
  }

  /** Makes a range read as zeroes: whole pages are given back. Grows to its end. */
  zero(offset: number, length: number): void {
    const end = offset + length
    for (let at = offset; at < end; ) {
      const chunk = this.#chunks.get(div(at, chunkSize))
      if (chunk === undefined) {
        at = this.#nextChunk(at, end)
        continue
      }
      const start = mod(at, pageSize)
      const stop = Math.min(pageSize, start + end - at)
      this.#clear(chunk, div(mod(at, chunkSize), pageSize), start, stop)
      at += stop - start
    }
    if (end > this.#size) this.#size = end
  }

  /** Sets the size. What is cut off is gone: growing again gives zeroes. */
  truncate(size: number): void {
    if (size < this.#size) {
      const last = div(size, chunkSize)
      for (const index of this.#chunks.keys()) if (index > last) this.#dropChunk(index)
      this.zero(size, (last + 1) * chunkSize - size)
    }
    this.#size = size
  }

  /** How far from `offset`, at most `length`, pages are stored, or are missing. */
  run(offset: number, length: number): StoredRun {
    const stored = this.#page(offset) !== undefined
    const end = offset + length
    let at = offset
    while (at < end) {
      const chunk = this.#chunks.get(div(at, chunkSize))
      if (chunk === undefined) {
        if (stored) break
        at = this.#nextChunk(at, end)
        continue
      }
      if ((chunk[div(mod(at, chunkSize), pageSize)] !== undefined) !== stored) break
      at = (div(at, pageSize) + 1) * pageSize
    }
    return { length: Math.min(at, end) - offset, stored }
  }

  #page(offset: number): Uint8Array | undefined {
    return this.#chunks.get(div(offset, chunkSize))?.[div(mod(offset, chunkSize), pageSize)]
  }

  #ownPage(offset: number): Uint8Array {
    const number = div(offset, chunkSize)
    let chunk = this.#chunks.get(number)
    if (chunk === undefined) {
      chunk = new Array<Uint8Array | undefined>(pagesPerChunk)
      this.#chunks.set(number, chunk)
    }
    const index = div(mod(offset, chunkSize), pageSize)
    let page = chunk[index]
    if (page === undefined) {
      page = new Uint8Array(pageSize)
      chunk[index] = page
      this.#pages++
    }
    return page
  }

  /** The start of the first chunk behind `offset` that has pages; `end` if there is none before it. */
  #nextChunk(offset: number, end: number): number {
    const index = div(offset, chunkSize) + 1
    if ((end - offset) / chunkSize <= this.#chunks.size) return index * chunkSize
    let next = end
    for (const candidate of this.#chunks.keys()) if (candidate >= index) next = Math.min(next, candidate * chunkSize)
    return next
  }

  #clear(chunk: Chunk, index: number, start: number, stop: number): void {
    const page = chunk[index]
    if (page === undefined) return
    if (stop - start < pageSize) {
      page.fill(0, start, stop)
      return
    }
    chunk[index] = undefined
    this.#pages--
  }

  #dropChunk(index: number): void {
    for (const page of this.#chunks.get(index) ?? []) if (page !== undefined) this.#pages--
    this.#chunks.delete(index)
  }
}
