/**
 * Pages of tables in memory: read when they are asked for; those that were used longest ago are forgotten, unless they
 * have changed. Whoever owns the cache writes changes, in the order that its format needs.
 */
import type { ChildHandle } from '@diskgraph/core/driver'

/** What tables need of the file that they stand in. */
export type TableFile = Pick<ChildHandle, 'read' | 'write' | 'writeZeroes' | 'discard' | 'flush'>

/** A piece of a table. */
export interface MetadataPage {
  /** Where in the file it stands. */
  readonly offset: number
  readonly view: DataView
  /** Changed since it was last {@link MetadataCache.write written}. */
  dirty: boolean
}

/** A page as it was when it was taken to be written. */
export interface TablePage {
  readonly offset: number
  readonly bytes: Uint8Array
}

interface CachedPage extends MetadataPage {
  /** Of the last use, in uses of the cache. */
  used: number
  /** It is on its way to the file, so that what stands there is old. */
  leaving: boolean
}

/** See the top of this file. Offsets are bytes of the file. */
export class MetadataCache {
  readonly pageSize: number
  readonly #file: TableFile
  readonly #most: number
  readonly #end: number
  readonly #pages = new Map<number, CachedPage>()
  readonly #loading = new Map<number, Promise<void>>()
  #uses = 0

  /** `most`: pages that are kept, beside changed ones. `end`: where the table ends, if the last page is shorter. */
  constructor(file: TableFile, pageSize: number, most: number, end = Number.POSITIVE_INFINITY) {
    this.#file = file
    this.pageSize = pageSize
    this.#most = most
    this.#end = end
  }

  /** The page that starts at `offset`, if it is in memory. Good until the next `await`. */
  peek(offset: number): MetadataPage | undefined {
    const page = this.#pages.get(offset)
    if (page !== undefined) page.used = ++this.#uses
    return page
  }

  /** Reads the page that starts at `offset`. It may be forgotten again: {@link peek}, and load once more. */
  load(offset: number): Promise<void> {
    let loading = this.#loading.get(offset)
    if (loading === undefined) {
      loading = this.#read(offset).finally(() => this.#loading.delete(offset))
      this.#loading.set(offset, loading)
    }
    return loading
  }

  async #read(offset: number): Promise<void> {
    if (this.#pages.has(offset)) return
    const bytes = new Uint8Array(Math.min(this.pageSize, this.#end - offset))
    await this.#file.read(offset, bytes)
    if (this.#pages.size >= this.#most) this.#forgetOne()
    const view = new DataView(bytes.buffer)
    this.#pages.set(offset, { offset, view, dirty: false, leaving: false, used: ++this.#uses })
  }

  #forgetOne(): void {
    let oldest: CachedPage | undefined
    for (const page of this.#pages.values()) {
      if (!page.dirty && !page.leaving && (oldest === undefined || page.used < oldest.used)) oldest = page
    }
    if (oldest !== undefined) this.#pages.delete(oldest.offset)
  }

  /** Whether so much has changed that it should be written before more does. */
  get crowded(): boolean {
    return this.#pages.size >= 2 * this.#most
  }

  /** Whether there is a page that has changed. */
  get dirty(): boolean {
    for (const page of this.#pages.values()) if (page.dirty) return true
    return false
  }

  /** Takes what has changed up to now, for `write` to write; later changes are not in it. `fail` when that came to nothing. */
  take(): {
    readonly pages: readonly TablePage[]
    write(by?: (pages: readonly TablePage[]) => Promise<void>): Promise<void>
    fail(): void
  } {
    const taken = [...this.#pages.values()].filter((page) => page.dirty)
    const pages = taken.map(({ offset, view }) => ({ offset, bytes: new Uint8Array(view.buffer.slice(0)) }))
    for (const page of taken) {
      page.dirty = false
      page.leaving = true
    }
    return {
      pages,
      write: async (by) => {
        if (by !== undefined) await by(pages)
        else for (const { offset, bytes } of pages) await this.#file.write(offset, bytes)
        for (const page of taken) page.leaving = false
      },
      fail: () => {
        for (const page of taken) {
          page.dirty = true
          page.leaving = false
        }
      },
    }
  }

  /** Forgets everything; nothing may have changed. */
  clear(): void {
    this.#pages.clear()
  }
}
