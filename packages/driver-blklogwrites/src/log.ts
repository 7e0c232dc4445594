/**
 * The log of the kernel's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst): a superblock in the first
 * sector, then entries, each a sector of its own and behind it the data of the write. All numbers are little-endian.
 */
import { BlockError, type ChildHandle, isPowerOfTwo } from '@diskgraph/core/driver'

/** What an entry is, or-ed together. */
export const EntryFlag = { Flush: 1, Fua: 2, Discard: 4 } as const

const magic = 0x6a736677736872n
const version = 1n
/** Bytes of the superblock and of an entry that mean something. */
const superblockBytes = 28
const entryBytes = 32

/** The sector of a log that is made anew. */
export const defaultSectorSize = 512

/** EINVAL for a size that is no sector: a power of two from 512 bytes to 8 MiB. */
function checkSectorSize(size: number): void {
  if (isPowerOfTwo(size) && size >= 512 && size <= 2 ** 23) return
  throw new BlockError('EINVAL', `Invalid log sector size ${size}`)
}

/** A log that is written. One entry after the other takes its place; they reach the file in any order until a flush. */
export class WriteLog {
  readonly #file: ChildHandle
  readonly sectorSize: number
  /** Entries that have their place. */
  #count: number
  /** Where the next entry goes, in sectors. */
  #next: number
  /** The superblock counts entries that are whole: those before the first that is still being written. */
  readonly #unfinished = new Set<number>()
  /** Superblocks are written one after the other: an older count must not come last. */
  #superblock: Promise<void> = Promise.resolve()

  private constructor(file: ChildHandle, sectorSize: number, count: number, next: number) {
    this.#file = file
    this.sectorSize = sectorSize
    this.#count = count
    this.#next = next
  }

  /** An empty log in `file`, whatever it holds; nothing is written before the first entry. */
  static begin(file: ChildHandle, sectorSize: number): WriteLog {
    checkSectorSize(sectorSize)
    return new WriteLog(file, sectorSize, 0, 1)
  }

  /** The log that `file` holds, to go on behind its last entry. */
  static async append(file: ChildHandle): Promise<WriteLog> {
    const head = new DataView(new ArrayBuffer(superblockBytes))
    await file.read(0, bytesOf(head))
    if (head.getBigUint64(0, true) !== magic) throw new BlockError('EINVAL', 'Invalid log superblock magic')
    if (head.getBigUint64(8, true) !== version) {
      throw new BlockError('EINVAL', `Unsupported log version ${head.getBigUint64(8, true)}`)
    }
    const sectorSize = head.getUint32(24, true)
    checkSectorSize(sectorSize)
    const count = Number(head.getBigUint64(16, true))
    return new WriteLog(file, sectorSize, count, await endOf(file, sectorSize, count))
  }

  /** Writes an entry, `data` behind it (undefined: `length` bytes of zeroes, except for a discard). Bytes; whole sectors. */
  async add(flags: number, offset: number, length: number, data?: Uint8Array): Promise<void> {
    const { sectorSize } = this
    const index = this.#count++
    const at = this.#next * sectorSize
    const stored = (flags & EntryFlag.Discard) === 0 ? length : 0
    this.#next += 1 + stored / sectorSize
    this.#unfinished.add(index)
    const head = new DataView(new ArrayBuffer(sectorSize))
    head.setBigUint64(0, BigInt(offset / sectorSize), true)
    head.setBigUint64(8, BigInt(length / sectorSize), true)
    head.setBigUint64(16, BigInt(flags), true)
    if (stored > 0 && data === undefined) await this.#file.writeZeroes(at + sectorSize, stored)
    else if (data !== undefined) await this.#file.write(at + sectorSize, data)
    await this.#file.write(at, bytesOf(head))
    this.#unfinished.delete(index)
  }

  /** Entries so far. */
  get count(): number {
    return this.#count
  }

  /** Makes the superblock count what is written whole, on stable storage. */
  writeSuperblock(): Promise<void> {
    this.#superblock = this.#superblock.catch(() => undefined).then(() => this.#writeCount())
    return this.#superblock
  }

  async #writeCount(): Promise<void> {
    const head = new DataView(new ArrayBuffer(this.sectorSize))
    head.setBigUint64(0, magic, true)
    head.setBigUint64(8, version, true)
    head.setBigUint64(16, BigInt(Math.min(this.#count, ...this.#unfinished)), true)
    head.setUint32(24, this.sectorSize, true)
    await this.#file.write(0, bytesOf(head))
    await this.#file.flush()
  }
}

/** The sector behind the last of `count` entries. EINVAL where they would pass the end of the file. */
async function endOf(file: ChildHandle, sectorSize: number, count: number): Promise<number> {
  let at = 1
  const entry = new DataView(new ArrayBuffer(entryBytes))
  for (let i = 0; i < count; i++) {
    if (at * sectorSize >= file.size) throw new BlockError('EINVAL', `the log ends before entry ${i} of ${count}`)
    await file.read(at * sectorSize, bytesOf(entry))
    const stored = (Number(entry.getBigUint64(16, true)) & EntryFlag.Discard) === 0
    at += 1 + (stored ? Number(entry.getBigUint64(8, true)) : 0)
  }
  return at
}

function bytesOf({ buffer }: DataView): Uint8Array {
  return new Uint8Array(buffer)
}
