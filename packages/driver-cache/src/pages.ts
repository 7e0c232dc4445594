/**
 * Pages of a disk: those that were read, of which the least recently used are given up first, and those that are being
 * read. Together they never take more than the capacity.
 *
 * A page is kept only if nobody changed it since its read began: a change forgets its pages when it begins, those that
 * are being read too, and until it ends no read of them begins here. What a read that began earlier brings is then
 * given to those who waited for it already, but not kept.
 */
import { div } from '@diskgraph/core/driver'

/** Pages that one read of the storage brings. */
export interface Fill {
  /** Index of the first one. */
  readonly first: number
  readonly count: number
  /** Their bytes, as far as the disk goes; undefined when they could not be read. Never rejects. */
  readonly bytes: Promise<Uint8Array | undefined>
}

interface Span {
  readonly first: number
  /** Index behind the last one. */
  readonly end: number
}

/** The pages of one disk, by their index. */
export class Pages {
  /** Bytes of one page; the last one of a disk may be shorter. */
  readonly pageSize: number
  /** Least recently used first. */
  readonly #kept = new Map<number, Uint8Array>()
  readonly #filling = new Map<number, Fill>()
  readonly #changing = new Set<Span>()
  #limit: number
  /** Pages that reads under way take in memory. */
  #reserved = 0

  constructor(pageSize: number, capacity: number) {
    this.pageSize = pageSize
    this.#limit = div(capacity, pageSize)
  }

  /** How many pages are kept. */
  get count(): number {
    return this.#kept.size
  }

  /** The kept page, which is now the one that was used last. */
  get(index: number): Uint8Array | undefined {
    const page = this.#kept.get(index)
    if (page === undefined) return undefined
    this.#kept.delete(index)
    this.#kept.set(index, page)
    return page
  }

  /** The read under way that brings the page. */
  filling(index: number): Fill | undefined {
    return this.#filling.get(index)
  }

  /** How many pages from `index` on, at most `wanted`, are neither here nor being read nor being changed, and have room. */
  missing(index: number, wanted: number): number {
    const room = this.#limit - this.#reserved
    const most = Math.min(wanted, room < 4 ? Math.min(room, 1) : div(room, 2))
    let count = 0
    while (count < most && this.#isMissing(index + count)) count++
    return count
  }

  #isMissing(index: number): boolean {
    if (this.#kept.has(index) || this.#filling.has(index)) return false
    for (const { first, end } of this.#changing) if (index >= first && index < end) return false
    return true
  }

  /** Begins to read pages that are {@link missing}; room is made for them at once. The bytes belong to the pages then. */
  fill(first: number, count: number, read: Promise<Uint8Array>): Fill {
    this.#reserved += memoryOf(count)
    this.#shrink()
    const settled = read.then(
      (bytes) => this.#end(fill, bytes),
      () => this.#end(fill, undefined),
    )
    const fill: Fill = { first, count, bytes: settled }
    for (let i = 0; i < count; i++) this.#filling.set(first + i, fill)
    return fill
  }

  #end(fill: Fill, bytes: Uint8Array | undefined): Uint8Array | undefined {
    const { first, count } = fill
    this.#reserved -= memoryOf(count)
    for (let i = 0; i < count; i++) {
      if (this.#filling.get(first + i) !== fill) continue
      this.#filling.delete(first + i)
      if (bytes !== undefined) this.#kept.set(first + i, count === 1 ? bytes : this.#copy(bytes, i))
    }
    this.#shrink()
    return bytes
  }

  /** Not a view, which would keep all of the bytes in memory. */
  #copy(bytes: Uint8Array, index: number): Uint8Array {
    return bytes.slice(index * this.pageSize, (index + 1) * this.pageSize)
  }

  /** The range is being changed, until the result is called. */
  beginChange(offset: number, length: number): () => void {
    const first = div(offset, this.pageSize)
    const span = { first, end: length === 0 ? first : div(offset + length - 1, this.pageSize) + 1 }
    this.#changing.add(span)
    forget(this.#kept, span)
    forget(this.#filling, span)
    return () => {
      this.#changing.delete(span)
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#kept.clear()
    this.#filling.clear()
  }

  /** Sets how many bytes are kept at most. */
  resize(capacity: number): void {
    this.#limit = div(capacity, this.pageSize)
    this.#shrink()
  }

  #shrink(): void {
    for (const index of this.#kept.keys()) {
      if (this.#kept.size + this.#reserved <= this.#limit) return
      this.#kept.delete(index)
    }
  }
}

/** How many pages a read of `count` takes in memory: several are copied out of what was read together. */
function memoryOf(count: number): number {
  return count === 1 ? 1 : 2 * count
}

/** Takes out the members of a span, by whichever of the two is shorter. */
function forget(map: Map<number, unknown>, { first, end }: Span): void {
  if (end - first <= map.size) {
    for (let index = first; index < end; index++) map.delete(index)
    return
  }
  for (const index of map.keys()) if (index >= first && index < end) map.delete(index)
}
