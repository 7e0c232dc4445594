/**
 * The bytes of a file in memory, made to be copied: pages of 4 KiB are shared between copies until one of them
 * writes. A copy of an 8 MiB image costs some microseconds, so a crash test can make thousands.
 *
 * Invariant: bytes past `size` in the last page are zero. `#owned` has the pages that no copy shares.
 */
const pageSize = 4096

/** See the top of the file. All methods are synchronous; offsets and lengths are bytes. */
export class PagedFile {
  /** How many calls have changed the file: reading verbs must not raise it. */
  changes = 0
  /** Bytes that stored pages may take. */
  space: number = Number.POSITIVE_INFINITY
  #pages: Map<number, Uint8Array>
  #owned = new Set<number>()
  #size: number

  constructor(size = 0) {
    this.#size = size
    this.#pages = new Map()
  }

  /** A file with these bytes, which are copied. */
  static from(bytes: Uint8Array): PagedFile {
    const file = new PagedFile()
    for (let at = 0; at < bytes.length; at += pageSize) {
      const page = bytes.subarray(at, at + pageSize)
      if (page.some((byte) => byte !== 0)) file.write(at, page)
    }
    file.truncate(bytes.length)
    file.changes = 0
    return file
  }

  get size(): number {
    return this.#size
  }

  /** Bytes that the stored pages take. */
  get allocatedSize(): number {
    return this.#pages.size * pageSize
  }

  /** How many of `length` bytes at `offset` there is space for: of a write, what fits is stored. */
  fitting(offset: number, length: number): number {
    if (this.space === Number.POSITIVE_INFINITY) return length
    let free = this.space - this.allocatedSize
    let at = offset
    while (at < offset + length) {
      const index = Math.floor(at / pageSize)
      if (!this.#pages.has(index)) free -= pageSize
      if (free < 0) break
      at = Math.min(offset + length, (index + 1) * pageSize)
    }
    return at - offset
  }

  /** A copy that shares all pages until one of the two changes them. */
  clone(): PagedFile {
    const copy = new PagedFile(this.#size)
    copy.#pages = new Map(this.#pages)
    this.#owned.clear()
    return copy
  }

  /** Fills `buf`; what is past the end reads as zeroes. */
  read(offset: number, buf: Uint8Array): void {
    for (let at = 0; at < buf.length; ) {
      const index = Math.floor((offset + at) / pageSize)
      const start = offset + at - index * pageSize
      const length = Math.min(pageSize - start, buf.length - at)
      const page = this.#pages.get(index)
      if (page === undefined) buf.fill(0, at, at + length)
      else buf.set(page.subarray(start, start + length), at)
      at += length
    }
  }

  /** Stores `buf` and grows to its end. */
  write(offset: number, buf: Uint8Array): void {
    this.changes++
    for (let at = 0; at < buf.length; ) {
      const index = Math.floor((offset + at) / pageSize)
      const start = offset + at - index * pageSize
      const length = Math.min(pageSize - start, buf.length - at)
      this.#ownPage(index).set(buf.subarray(at, at + length), start)
      at += length
    }
    if (offset + buf.length > this.#size) this.#size = offset + buf.length
  }

  /** Makes a range read as zeroes and grows to its end. */
  zero(offset: number, length: number): void {
    this.changes++
    this.#clear(offset, offset + length)
    if (offset + length > this.#size) this.#size = offset + length
  }

  /** Sets the size; what is cut off is gone. */
  truncate(size: number): void {
    this.changes++
    if (size < this.#size) this.#clear(size, this.#size)
    this.#size = size
  }

  /** How far from `offset`, at most `length`, pages are stored, or are missing. */
  run(offset: number, length: number): { readonly length: number; readonly stored: boolean } {
    const first = Math.floor(offset / pageSize)
    const stored = this.#pages.has(first)
    const end = offset + length
    if (!stored && this.#pages.size < (length / pageSize) * 2)
      return { length: this.#hole(first, end) - offset, stored }
    let index = first + 1
    while (index * pageSize < end && this.#pages.has(index) === stored) index++
    return { length: Math.min(index * pageSize, end) - offset, stored }
  }

  /** The whole content as one buffer. */
  bytes(): Uint8Array {
    const buf = new Uint8Array(this.#size)
    this.read(0, buf)
    return buf
  }

  /** The stored pages in order of their offsets, cut to the size: what a copy on disk has to hold. */
  *storedPages(): Generator<{ readonly offset: number; readonly bytes: Uint8Array }> {
    for (const index of [...this.#pages.keys()].sort((a, b) => a - b)) {
      const offset = index * pageSize
      if (offset < this.#size) {
        yield { offset, bytes: (this.#pages.get(index) as Uint8Array).subarray(0, this.#size - offset) }
      }
    }
  }

  #hole(first: number, end: number): number {
    let next = end
    for (const index of this.#pages.keys()) if (index > first) next = Math.min(next, index * pageSize)
    return next
  }

  #ownPage(index: number): Uint8Array {
    const page = this.#pages.get(index)
    if (page !== undefined && this.#owned.has(index)) return page
    const own = page === undefined ? new Uint8Array(pageSize) : page.slice()
    this.#pages.set(index, own)
    this.#owned.add(index)
    return own
  }

  #clear(offset: number, end: number): void {
    if (end - offset > this.#pages.size * pageSize) {
      for (const index of [...this.#pages.keys()]) this.#clearPage(index, offset, end)
      return
    }
    for (let index = Math.floor(offset / pageSize); index * pageSize < end; index++) {
      if (this.#pages.has(index)) this.#clearPage(index, offset, end)
    }
  }

  #clearPage(index: number, offset: number, end: number): void {
    const start = Math.max(0, offset - index * pageSize)
    const stop = Math.min(pageSize, end - index * pageSize)
    if (start >= stop) return
    if (stop - start < pageSize) this.#ownPage(index).fill(0, start, stop)
    else {
      this.#pages.delete(index)
      this.#owned.delete(index)
    }
  }
}
