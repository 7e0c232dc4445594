/** A file in memory on a storage of limited size, which it takes page by page, as file systems do. */
import { BlockError, type BlockStatus, type DriverDescriptor } from '@diskgraph/core'
import type { OpenImage } from '@diskgraph/core/driver'

const pageSize = 4096

/** See the top of this file. Ranges that were never written are holes: they take no storage until they are. */
export class LimitedFile implements OpenImage {
  readonly driver: DriverDescriptor
  readonly zeroInit = true
  size = 0
  /** How many pages the storage has. */
  capacity: number
  private readonly pages = new Map<number, Uint8Array>()

  constructor(bytes: number) {
    this.capacity = bytes / pageSize
    this.driver = {
      name: 'limited',
      kind: 'protocol',
      description: 'A file on little storage, for tests.',
      options: {},
      open: async () => this,
    }
  }

  /** The bytes of the file. */
  get bytes(): Uint8Array {
    const bytes = new Uint8Array(this.size)
    for (const [index, page] of this.pages) {
      const start = index * pageSize
      if (start < this.size) bytes.set(page.subarray(0, this.size - start), start)
    }
    return bytes
  }

  async read(offset: number, buf: Uint8Array): Promise<void> {
    this.eachPage(offset, buf.length, (page, from, to, at) => {
      const stored = this.pages.get(page)
      if (stored === undefined) buf.fill(0, at, at + to - from)
      else buf.set(stored.subarray(from, to), at)
    })
  }

  /** A write for which there is no space has written what there was space for, and has not grown the file. */
  async write(offset: number, buf: Uint8Array): Promise<void> {
    this.eachPage(offset, buf.length, (page, from, to, at) => {
      let stored = this.pages.get(page)
      if (stored === undefined) {
        if (this.pages.size >= this.capacity) throw new BlockError('ENOSPC', 'no space left')
        stored = new Uint8Array(pageSize)
        this.pages.set(page, stored)
      }
      stored.set(buf.subarray(at, at + to - from), from)
    })
    this.size = Math.max(this.size, offset + buf.length)
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    this.punch(offset, length)
    this.size = Math.max(this.size, offset + length)
  }

  async discard(offset: number, length: number): Promise<void> {
    this.punch(offset, length)
  }

  async truncate(size: number): Promise<void> {
    if (size < this.size) this.punch(size, this.size - size)
    this.size = size
  }

  async flush(): Promise<void> {}

  async blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const data = this.pages.has(Math.floor(offset / pageSize))
    return { length: Math.min(length, pageSize - (offset % pageSize)), data, zero: !data, allocated: true, offset }
  }

  async close(): Promise<void> {}

  private punch(offset: number, length: number): void {
    this.eachPage(offset, length, (page, from, to) => {
      if (to - from === pageSize) this.pages.delete(page)
      else this.pages.get(page)?.fill(0, from, to)
    })
  }

  /** Calls `visit` with the index of each page that a range touches, the range inside it, and its place in the range. */
  private eachPage(
    offset: number,
    length: number,
    visit: (page: number, from: number, to: number, at: number) => void,
  ): void {
    for (let at = 0; at < length; ) {
      const page = Math.floor((offset + at) / pageSize)
      const from = offset + at - page * pageSize
      const to = Math.min(pageSize, from + length - at)
      visit(page, from, to, at)
      at += to - from
    }
  }
}
