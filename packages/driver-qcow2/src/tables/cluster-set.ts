/** A set of host cluster indices as bitmap pages: small where it is sparse, and asked for whole ranges at once. */

const pageBits = 8192
const pageWords = pageBits / 32

/** See the top of this file. */
export class ClusterSet {
  private readonly pages = new Map<number, Uint32Array>()

  add(index: number): void {
    const number = Math.floor(index / pageBits)
    let page = this.pages.get(number)
    if (page === undefined) {
      page = new Uint32Array(pageWords)
      this.pages.set(number, page)
    }
    const bit = index - number * pageBits
    page[bit >>> 5]! |= 1 << (bit & 31)
  }

  delete(index: number): void {
    const number = Math.floor(index / pageBits)
    const page = this.pages.get(number)
    if (page === undefined) return
    const bit = index - number * pageBits
    page[bit >>> 5]! &= ~(1 << (bit & 31))
  }

  has(index: number): boolean {
    const number = Math.floor(index / pageBits)
    const page = this.pages.get(number)
    if (page === undefined) return false
    const bit = index - number * pageBits
    return (page[bit >>> 5]! & (1 << (bit & 31))) !== 0
  }

  /** Whether any index from `first` to `last`, both included, is in the set. */
  hasAny(first: number, last: number): boolean {
    if (this.pages.size === 0) return false
    if (first === last) return this.has(first)
    for (let index = first; index <= last; ) {
      const number = Math.floor(index / pageBits)
      const pageEnd = (number + 1) * pageBits
      const page = this.pages.get(number)
      const end = Math.min(last + 1, pageEnd)
      if (page !== undefined && anyBit(page, index - number * pageBits, end - number * pageBits)) return true
      index = end
    }
    return false
  }
}

function anyBit(page: Uint32Array, from: number, to: number): boolean {
  for (let bit = from; bit < to; ) {
    const word = page[bit >>> 5]!
    if (word === 0) {
      bit = (bit | 31) + 1
      continue
    }
    if ((word & (1 << (bit & 31))) !== 0) return true
    bit++
  }
  return false
}
