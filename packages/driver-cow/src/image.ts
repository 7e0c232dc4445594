/**
 * An open COW image. Each sector has its place in the file, and a bit that says whether it is there. Bits change in
 * memory when the data of a write has been written, and reach the file in the order of table formats (EntryTable of
 * @diskgraph/sparse): data │ flush │ bits. So after a crash a sector is as the backing file has it, or as it was written.
 */
import {
  BlockError,
  type BlockStatus,
  type ChildHandle,
  type DriverInfo,
  type Limits,
  type OpenImage,
  type Prepared,
  type ReopenChange,
} from '@diskgraph/core/driver'
import type { EntryTable } from '@diskgraph/sparse'
import { type Header, sectorSize } from './header.ts'

const bitsPerWord = 32
const allBits = 0xffffffff
/** Sectors that one status looks at. */
const mostSectors = 2 ** 20

/** What an image is made from. */
interface CowParts {
  readonly file: ChildHandle
  readonly header: Header
  /** The bitmap, in words of 32 bits. */
  readonly bitmap: EntryTable
  /** The name in the image. */
  readonly backingName: string | undefined
  readonly readOnly: boolean
  /** Asked for at every use: edges of the graph come and go. */
  backing(): ChildHandle | undefined
}

/** See the top of this file. */
export class CowImage implements OpenImage {
  readonly size: number
  readonly limits: Partial<Limits> = { alignment: sectorSize }
  readonly #file: ChildHandle
  readonly #dataOffset: number
  readonly #bitmap: EntryTable
  readonly #backingName: string | undefined
  readonly #backing: () => ChildHandle | undefined
  #readOnly: boolean

  constructor({ file, header, bitmap, backingName, readOnly, backing }: CowParts) {
    this.size = header.size
    this.#file = file
    this.#dataOffset = header.dataOffset
    this.#bitmap = bitmap
    this.#backingName = backingName
    this.#backing = backing
    this.#readOnly = readOnly
  }

  async read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    for (let done = 0; done < buf.length; ) {
      const { here, length } = this.#run(offset + done, buf.length - done)
      const part = buf.subarray(done, done + length)
      const backing = this.#backing()
      if (here) await this.#readHere(offset + done, part, signal)
      else if (backing !== undefined) await backing.read(offset + done, part, 0, signal)
      else part.fill(0)
      done += length
    }
  }

  #readHere(offset: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const host = this.#dataOffset + offset
    if (host + buf.length > this.#file.size) {
      throw new BlockError('EIO', `the image is cut: it holds the sectors at ${offset}, which stand behind its end`)
    }
    return this.#file.read(host, buf, 0, signal)
  }

  async write(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    await this.#file.write(this.#dataOffset + offset, buf, 0, signal)
    const end = (offset + buf.length) / sectorSize
    for (let sector = offset / sectorSize; sector < end; ) {
      const word = Math.floor(sector / bitsPerWord)
      const first = sector % bitsPerWord
      const count = Math.min(bitsPerWord - first, end - sector)
      const bits = count === bitsPerWord ? allBits : ((2 ** count - 1) << first) >>> 0
      const before = this.#bitmap.get(word)
      const after = (before | bits) >>> 0
      if (after !== before) this.#bitmap.set(word, after)
      sector += count
    }
  }

  flush(): Promise<void> {
    return this.#bitmap.flush(this.#file, async () => {})
  }

  async close(): Promise<void> {
    if (!this.#readOnly) await this.flush()
  }

  async blockStatus(offset: number, length: number): Promise<BlockStatus> {
    const { here, length: run } = this.#run(offset, Math.min(length, mostSectors * sectorSize))
    if (!here) return { length: run, data: false, zero: this.#backingName === undefined, allocated: false }
    const place = { file: this.#file, offset: this.#dataOffset + offset }
    return { length: run, data: true, zero: false, allocated: true, ...place }
  }

  async reopen(change: ReopenChange): Promise<Prepared> {
    if (change.readOnly) await this.close()
    return {
      commit: () => {
        this.#readOnly = change.readOnly
      },
      abort: () => {},
    }
  }

  info(): Promise<DriverInfo> {
    const name = this.#backingName
    return Promise.resolve({ clusterSize: sectorSize, ...(name === undefined ? {} : { backingFilename: name }) })
  }

  /** Whether the sector at `offset` is here, and for how many of `length` bytes that holds. */
  #run(offset: number, length: number): { here: boolean; length: number } {
    const start = offset / sectorSize
    const end = (offset + length) / sectorSize
    const here = this.#isHere(start)
    const same = here ? allBits : 0
    let sector = start + 1
    while (sector < end) {
      const whole = sector % bitsPerWord === 0 && this.#bitmap.get(sector / bitsPerWord) === same
      if (!whole && this.#isHere(sector) !== here) break
      sector += whole ? bitsPerWord : 1
    }
    return { here, length: (Math.min(sector, end) - start) * sectorSize }
  }

  #isHere(sector: number): boolean {
    return ((this.#bitmap.get(Math.floor(sector / bitsPerWord)) >>> (sector % bitsPerWord)) & 1) === 1
  }
}
