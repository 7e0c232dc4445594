/**
 * How often every host cluster is referred to, counted in memory.
 *
 * Counts live in pages of 65,536 clusters, made when the first cluster of a page is counted and as wide as the
 * largest count in them needs: 2 bits (a cluster that nobody or one snapshot shares), 8, 32, or doubles. A fully
 * mapped image of 8 TiB with 64 KiB clusters takes 33 MB, a sparse one next to nothing.
 */

const pageClusters = 65536
/** Bytes of a page whose counts have two bits; one with a byte each has `pageClusters` bytes. */
const narrowBytes = pageClusters / 4
/** Four clusters in a narrow page with a count of 1 each. */
const fourOnes = 0x55

interface Page {
  data: Uint8Array | Uint32Array | Float64Array
  narrow: boolean
  /** All clusters from this one on have no reference yet. */
  top: number
}

const noPage: Page = { data: new Uint8Array(0), narrow: false, top: 0 }

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
  private lastPage = noPage

  constructor(max: number) {
    this.max = max
  }

  /** Counts one more reference. False, and no change, when the count is at its largest already. */
  increment(cluster: number): boolean {
    const number = Math.floor(cluster / pageClusters)
    const page = number === this.lastNumber ? this.lastPage : this.provide(number)
    const index = cluster - number * pageClusters
    if (cluster >= this.end) this.end = cluster + 1
    if (index >= page.top) page.top = index + 1
    const { data } = page
    if (page.narrow) {
      const at = index >>> 2
      const shift = (index & 3) * 2
      const count = (data[at]! >>> shift) & 3
      if (count >= this.max) return false
      if (count > 0) this.shared = true
      if (count < 3) {
        data[at]! += 1 << shift
        return true
      }
      widen(page)
    }
    return this.incrementWide(page, index)
  }

  /** Counts one more reference to each of `count` clusters. Returns how many of them could be counted, in order. */
  incrementRun(start: number, count: number): number {
    let done = 0
    while (done < count) {
      const cluster = start + done
      const number = Math.floor(cluster / pageClusters)
      const page = number === this.lastNumber ? this.lastPage : this.provide(number)
      const index = cluster - number * pageClusters
      const first = index >>> 2
      const limit = first + (Math.min(count - done, pageClusters - index) >>> 2)
      const filled = page.narrow && (index & 3) === 0 ? fillFours(page, first, limit) : first
      if (filled > first) {
        done += (filled - first) * 4
        page.top = Math.max(page.top, filled * 4)
        if (start + done > this.end) this.end = start + done
      } else {
        if (!this.increment(cluster)) return done
        done++
      }
    }
    return done
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
    if (page.narrow) page.data[index >>> 2]! -= 1 << ((index & 3) * 2)
    else page.data[index]! -= 1
  }

  /** How many clusters from `from` on have a count of exactly 1, at least; looked for up to `to`, by fours. */
  countOnes(from: number, to: number): number {
    const number = Math.floor(from / pageClusters)
    const page = this.pages.get(number)
    const index = from - number * pageClusters
    if (page === undefined || !page.narrow || (index & 3) !== 0) return 0
    const last = Math.min(to - number * pageClusters, pageClusters) >>> 2
    const { data } = page
    let at = index >>> 2
    while (at < last && data[at] === fourOnes) at++
    return Math.max(0, at * 4 - index)
  }

  /** The first cluster at or after `from` and before `to` whose count is not 0; `to` if there is none. */
  nextUsed(from: number, to: number): number {
    for (let cluster = from; cluster < to; ) {
      const number = Math.floor(cluster / pageClusters)
      const base = number * pageClusters
      const page = this.pages.get(number)
      if (page !== undefined) {
        const end = Math.min(to - base, page.top)
        for (let index = cluster - base; index < end; index++) {
          if (page.narrow && (index & 3) === 0 && page.data[index >>> 2] === 0) index += 3
          else if (countAt(page, index) !== 0) return base + index
        }
      }
      cluster = base + pageClusters
    }
    return to
  }

  /** The first of `count` clusters in a row without references, at or after `from`. */
  findFree(count: number, from: number): number {
    let start = from
    while (start < this.end) {
      const limit = Math.min(start + count, this.end)
      const used = this.nextUsed(start, limit)
      if (used === limit) return start
      start = used + 1
      while (start < this.end && this.get(start) !== 0) start++
    }
    return start
  }

  private incrementWide(page: Page, index: number): boolean {
    const count = page.data[index]!
    if (count >= this.max) return false
    if (count > 0) this.shared = true
    const { data } = page
    if (data instanceof Uint8Array ? count === 0xff : data instanceof Uint32Array && count === 0xffffffff) widen(page)
    page.data[index] = count + 1
    return true
  }

  private provide(number: number): Page {
    let page = this.pages.get(number)
    if (page === undefined) {
      page = { data: new Uint8Array(narrowBytes), narrow: true, top: 0 }
      this.pages.set(number, page)
    }
    this.lastNumber = number
    this.lastPage = page
    return page
  }
}

/** Sets fours of clusters without references to 1 each, up to the first four that has some; returns where it ended. */
function fillFours(page: Page, first: number, limit: number): number {
  const { data } = page
  const fresh = Math.min(limit, Math.max(first, Math.ceil(page.top / 4)))
  let at = first
  while (at < fresh && data[at] === 0) data[at++] = fourOnes
  if (at < fresh) return at
  data.fill(fourOnes, fresh, limit)
  return Math.max(fresh, limit)
}

function countAt(page: Page, index: number): number {
  return page.narrow ? (page.data[index >>> 2]! >>> ((index & 3) * 2)) & 3 : page.data[index]!
}

/** Gives the counts of a page more room. */
function widen(page: Page): void {
  const wider = widerData(page)
  for (let index = 0; index < page.top; index++) wider[index] = countAt(page, index)
  page.data = wider
  page.narrow = false
}

function widerData(page: Page): Page['data'] {
  if (page.narrow) return new Uint8Array(pageClusters)
  return page.data instanceof Uint8Array ? new Uint32Array(pageClusters) : new Float64Array(pageClusters)
}
