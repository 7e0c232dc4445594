/**
 * How often every host cluster is referred to, counted in memory.
 *
 * Counts live in pages of 65,536 clusters, made when the first cluster of a page is counted and as wide as the
 * largest count in them needs: 2 bits (a cluster that nobody or one snapshot shares), 8, 32, or doubles. A fully
 * mapped image of 8 TiB with 64 KiB clusters takes 33 MB, a sparse one next to nothing.
 */

const pageClusters = 65536

type Page = Uint8Array | Uint32Array | Float64Array

/** Bytes of a page whose counts have two bits; one with a byte each has `pageClusters` bytes. */
const narrowBytes = pageClusters / 4

/** See the top of this file. */
export class ReferenceCounts {
  /** The largest count that the image can store. */
  readonly max: number
  /** One more than the highest cluster that was counted. */
  end = 0
  /** Whether any cluster has been counted more than once. */
  shared = false
  private readonly pages = new Map<number, Page>()
  private lastNumber = -1
  private lastPage: Page = new Uint8Array(0)

  constructor(max: number) {
    this.max = max
  }

  /** Counts one more reference. False, and no change, when the count is at its largest already. */
  increment(cluster: number): boolean {
    const number = Math.floor(cluster / pageClusters)
    const page = number === this.lastNumber ? this.lastPage : this.provide(number)
    const index = cluster - number * pageClusters
    if (cluster >= this.end) this.end = cluster + 1
    if (page.byteLength === narrowBytes) {
      const at = index >>> 2
      const shift = (index & 3) * 2
      const count = (page[at]! >>> shift) & 3
      if (count >= this.max) return false
      if (count > 0) this.shared = true
      if (count < 3) {
        page[at]! += 1 << shift
        return true
      }
      return this.incrementWide(this.widen(number), number, index)
    }
    return this.incrementWide(page, number, index)
  }

  /** The count of a cluster. */
  get(cluster: number): number {
    const number = Math.floor(cluster / pageClusters)
    const page = number === this.lastNumber ? this.lastPage : this.pages.get(number)
    if (page === undefined) return 0
    this.lastNumber = number
    this.lastPage = page
    return countAt(page, cluster - number * pageClusters)
  }

  /** Takes one reference away from a cluster that has some. */
  decrement(cluster: number): void {
    const number = Math.floor(cluster / pageClusters)
    const page = this.provide(number)
    const index = cluster - number * pageClusters
    if (page.byteLength === narrowBytes) page[index >>> 2]! -= 1 << ((index & 3) * 2)
    else page[index]! -= 1
  }

  /** The first cluster at or after `from` and before `to` whose count is not 0; `to` if there is none. */
  nextUsed(from: number, to: number): number {
    for (let cluster = from; cluster < to; ) {
      const number = Math.floor(cluster / pageClusters)
      const page = this.pages.get(number)
      const pageEnd = Math.min(to, (number + 1) * pageClusters)
      if (page !== undefined) {
        const base = number * pageClusters
        const narrow = page.byteLength === narrowBytes
        for (let index = cluster - base; index < pageEnd - base; index++) {
          if (narrow && (index & 3) === 0 && page[index >>> 2] === 0) index += 3
          else if (countAt(page, index) !== 0) return base + index
        }
      }
      cluster = pageEnd
    }
    return to
  }

  /** The first of `count` clusters in a row without references, at or after `from`. */
  findFree(count: number, from: number): number {
    let start = from
    while (start < this.end) {
      const used = this.nextUsed(start, Math.min(start + count, this.end))
      if (used === Math.min(start + count, this.end)) return start
      start = used + 1
      while (start < this.end && this.get(start) !== 0) start++
    }
    return start
  }

  private incrementWide(page: Page, number: number, index: number): boolean {
    const count = page[index]!
    if (count >= this.max) return false
    if (page instanceof Uint8Array ? count === 0xff : page instanceof Uint32Array && count === 0xffffffff) {
      this.widen(number)[index] = count + 1
    } else {
      page[index] = count + 1
    }
    return true
  }

  private provide(number: number): Page {
    let page = this.pages.get(number)
    if (page === undefined) {
      page = new Uint8Array(narrowBytes)
      this.pages.set(number, page)
    }
    this.lastNumber = number
    this.lastPage = page
    return page
  }

  private widen(number: number): Page {
    const old = this.pages.get(number)!
    const page = widerPage(old)
    for (let index = 0; index < pageClusters; index++) page[index] = countAt(old, index)
    this.pages.set(number, page)
    this.lastNumber = number
    this.lastPage = page
    return page
  }
}

function countAt(page: Page, index: number): number {
  return page.byteLength === narrowBytes ? (page[index >>> 2]! >>> ((index & 3) * 2)) & 3 : page[index]!
}

function widerPage(page: Page): Page {
  if (page.byteLength === narrowBytes) return new Uint8Array(pageClusters)
  return page instanceof Uint8Array ? new Uint32Array(pageClusters) : new Float64Array(pageClusters)
}
