import type { GeneratedFat } from './disk/fat.ts'
import type { HostFile } from './host/tree.ts'

/** A part of the disk that is more than zeroes. Bytes. */
export interface Span {
  readonly offset: number
  readonly length: number
  readonly source: SpanSource
}

/** Where the bytes of a span come from: memory, the FAT, or a file of the host from `start` on. */
type SpanSource = Uint8Array | GeneratedFat | { readonly file: HostFile; readonly start: number }

/** Spans by where they stand. */
export class SpanMap {
  readonly #spans: readonly Span[]

  /** `spans` do not overlap. */
  constructor(spans: readonly Span[]) {
    this.#spans = [...spans].sort((a, b) => a.offset - b.offset)
  }

  /** The span that `offset` stands in, or none, and for how many of `length` bytes that holds. */
  at(offset: number, length: number): { readonly length: number; readonly span: Span | undefined } {
    let [low, high] = [0, this.#spans.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const { offset: start, length: size } = this.#spans[middle] as Span
      if (start + size > offset) high = middle
      else low = middle + 1
    }
    const span = this.#spans[low]
    if (span === undefined) return { length, span }
    if (span.offset > offset) return { length: Math.min(length, span.offset - offset), span: undefined }
    return { length: Math.min(length, span.offset + span.length - offset), span }
  }
}
