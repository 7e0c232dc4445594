/**
 * Table formats: those whose whole mapping is one table of 32-bit entries, which is in memory.
 *
 * Entries change in memory; {@link EntryTable.flush} brings them to the file in an order that leaves leaked clusters
 * at worst:
 *
 *     data of new clusters, and what of the header must be there before   │ flush │ entries   (│ flush: the core's)
 *
 * An entry is set only after its data has been written, so a page that is copied before the flush points to nothing
 * that the flush does not cover.
 */
import { Mutex } from '@diskgraph/clusters'
import { alignDown, type ChildHandle, divUp } from '@diskgraph/core/driver'

/** Entries are written in pages of so many bytes. */
const pageSize = 4096
const entrySize = 4

/** A table of 32-bit entries, as it stands in the file at `offset`. */
export class EntryTable {
  /** Where in the file the first entry stands. */
  readonly offset: number
  readonly #littleEndian: boolean
  readonly #mutex = new Mutex()
  #bytes: Uint8Array
  #view: DataView
  #dirty = new Set<number>()

  /** `bytes` belongs to the table from now on. */
  constructor(offset: number, bytes: Uint8Array, littleEndian: boolean) {
    this.offset = offset
    this.#littleEndian = littleEndian
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** How many entries there are. */
  get entries(): number {
    return this.#bytes.length / entrySize
  }

  /** Whether there are changes that {@link flush} has not written. */
  get dirty(): boolean {
    return this.#dirty.size > 0
  }

  get(index: number): number {
    return this.#view.getUint32(index * entrySize, this.#littleEndian)
  }

  set(index: number, value: number): void {
    const at = index * entrySize
    this.#view.setUint32(at, value, this.#littleEndian)
    this.#dirty.add(Math.floor(at / pageSize))
  }

  /** Changes the number of entries; new ones hold `value`. They are written with the next flush. */
  resize(entries: number, value: number): void {
    const before = this.entries
    const bytes = new Uint8Array(entries * entrySize)
    bytes.set(this.#bytes.subarray(0, bytes.length))
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
    const pages = divUp(bytes.length, pageSize)
    this.#dirty = new Set([...this.#dirty].filter((page) => page < pages))
    for (let index = before; index < entries; index++) this.set(index, value)
  }

  /**
   * Writes what has changed. `before` is called first and writes what must be in the file before; it is flushed
   * together with data. Calls take turns. After a failure the changes are still to be written.
   */
  async flush(file: ChildHandle, before: () => Promise<void>): Promise<void> {
    const wait = this.#mutex.lock()
    if (wait !== undefined) await wait
    const pages = [...this.#dirty]
    try {
      if (pages.length === 0) return
      this.#dirty.clear()
      const runs = this.#runs(pages)
      await before()
      await file.flush()
      for (const { at, bytes } of runs) await file.write(this.offset + at, bytes)
    } catch (error) {
      for (const page of pages) this.#dirty.add(page)
      throw error
    } finally {
      this.#mutex.unlock()
    }
  }

  /** Copies of the pages, those that follow each other as one. */
  #runs(pages: number[]): { readonly at: number; readonly bytes: Uint8Array }[] {
    const runs: { at: number; end: number }[] = []
    for (const page of pages.sort((a, b) => a - b)) {
      const at = page * pageSize
      const end = Math.min(at + pageSize, this.#bytes.length)
      const last = runs.at(-1)
      if (last?.end === at) last.end = end
      else runs.push({ at, end })
    }
    return runs.map(({ at, end }) => ({ at, bytes: this.#bytes.slice(at, end) }))
  }
}

/** Reads a table of `entries` entries. The caller has checked that they stand in the file. */
export async function readTable(
  file: ChildHandle,
  offset: number,
  entries: number,
  littleEndian: boolean,
): Promise<EntryTable> {
  const bytes = new Uint8Array(entries * entrySize)
  const step = alignDown(file.limits.maxTransfer, pageSize)
  for (let at = 0; at < bytes.length; at += step) await file.read(offset + at, bytes.subarray(at, at + step))
  return new EntryTable(offset, bytes, littleEndian)
}
