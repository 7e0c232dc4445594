/**
 * The log: changes of tables that may not be in their place yet. It is a ring of sectors of 4 KiB, in which entries follow
 * each other; those of the last run whose numbers follow each other and whose checksums are right count, others are of
 * no meaning.
 */
import { BlockError, type ChildHandle } from '@diskgraph/core/driver'
import type { TableFile } from '@diskgraph/sparse'
import { crc32c } from './crc32c.ts'
import type { Header } from './header.ts'
import { guidAt, LogField, logSector, noGuid } from './layout.ts'

/** A sector that the log holds for a place in the file; undefined: zeroes. */
interface Change {
  readonly offset: number
  readonly length: number
  readonly bytes: Uint8Array | undefined
}

/** What the log asks for, in order. */
interface Replay {
  readonly changes: readonly Change[]
  /** The file is as long, at least. */
  readonly end: number
}

/** An entry as its header describes it. */
interface Entry {
  /** In the log. */
  readonly offset: number
  readonly length: number
  readonly tail: number
  readonly sequence: bigint
  readonly descriptors: number
  readonly flushedEnd: number
  readonly lastEnd: number
}

const longestLog = 256 * 2 ** 20

/** Reads what the log asks for; undefined when there is nothing. EINVAL when the file lacks what the log builds on. */
export async function readLog(file: ChildHandle, header: Header): Promise<Replay | undefined> {
  if (header.logGuid === noGuid) return undefined
  if (header.logLength > longestLog)
    throw new BlockError('EFBIG', `a log of ${header.logLength} bytes is not supported`)
  const bytes = new Uint8Array(header.logLength)
  const step = 2 ** 20
  for (let at = 0; at < bytes.length; at += step) await file.read(header.logOffset + at, bytes.subarray(at, at + step))
  const run = new LogReader(bytes, header.logGuid).activeRun()
  const head = run.at(-1)
  if (head === undefined) return undefined
  if (head.flushedEnd > file.size) {
    throw new BlockError('EINVAL', `the image is cut: it has ${file.size} bytes, and its log is of ${head.flushedEnd}`)
  }
  const reader = new LogReader(bytes, header.logGuid)
  return { changes: run.flatMap((entry) => reader.changesOf(entry)), end: head.lastEnd }
}

class LogReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #guid: string
  /** Entries by their place; undefined: there is none. */
  readonly #entries = new Map<number, Entry | undefined>()
  /** Bytes that checksums may still be made of: a log full of false entries must not take for ever. */
  #budget: number

  constructor(bytes: Uint8Array, guid: string) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer)
    this.#guid = guid
    this.#budget = 4 * bytes.length
  }

  /** The run of entries that ends with the highest number. */
  activeRun(): readonly Entry[] {
    const heads: Entry[] = []
    for (let at = 0; at < this.#bytes.length; at += logSector) {
      const entry = this.#headerAt(at)
      if (entry !== undefined) heads.push(entry)
    }
    heads.sort((a, b) => (a.sequence < b.sequence ? 1 : -1))
    for (const head of heads) {
      const run = this.#runTo(head)
      if (run !== undefined) return run
    }
    return []
  }

  #runTo(head: Entry): readonly Entry[] | undefined {
    const run: Entry[] = []
    for (let at = head.tail; run.length <= this.#bytes.length / logSector; ) {
      const entry = this.#entryAt(at)
      const before = run.at(-1)
      if (entry === undefined || (before !== undefined && entry.sequence !== before.sequence + 1n)) return undefined
      run.push(entry)
      if (at === head.offset) return run
      at = (at + entry.length) % this.#bytes.length
    }
    return undefined
  }

  /** The entry at a place of the log, if its checksum is right. */
  #entryAt(at: number): Entry | undefined {
    if (this.#entries.has(at)) return this.#entries.get(at)
    const entry = this.#headerAt(at)
    const whole = entry !== undefined && this.#isWhole(entry) ? entry : undefined
    this.#entries.set(at, whole)
    return whole
  }

  #headerAt(at: number): Entry | undefined {
    const view = this.#view
    if (String.fromCharCode(...this.#bytes.subarray(at, at + 4)) !== 'loge') return undefined
    const length = view.getUint32(at + LogField.length, true)
    const tail = view.getUint32(at + LogField.tail, true)
    const sequence = view.getBigUint64(at + LogField.sequence, true)
    const descriptors = view.getUint32(at + LogField.descriptors, true)
    if (guidAt(this.#bytes, at + LogField.guid) !== this.#guid || sequence === 0n) return undefined
    if (length === 0 || length % logSector !== 0 || length > this.#bytes.length) return undefined
    if (tail % logSector !== 0 || tail >= this.#bytes.length || headSectors(descriptors) * logSector > length)
      return undefined
    const flushedEnd = Number(view.getBigUint64(at + LogField.flushedEnd, true))
    const lastEnd = Number(view.getBigUint64(at + LogField.lastEnd, true))
    if (!Number.isSafeInteger(lastEnd)) return undefined
    return { offset: at, length, tail, sequence, descriptors, flushedEnd, lastEnd }
  }

  #isWhole(entry: Entry): boolean {
    this.#budget -= entry.length
    if (this.#budget < 0) throw new BlockError('EINVAL', 'the log of the image is damaged')
    const bytes = this.#slice(entry.offset, entry.length)
    return this.#view.getUint32(entry.offset + LogField.checksum, true) === crc32c(bytes, LogField.checksum)
  }

  /** A piece of the ring. */
  #slice(at: number, length: number): Uint8Array {
    const start = at % this.#bytes.length
    if (start + length <= this.#bytes.length) return this.#bytes.subarray(start, start + length)
    const whole = new Uint8Array(length)
    whole.set(this.#bytes.subarray(start))
    whole.set(this.#bytes.subarray(0, length - (this.#bytes.length - start)), this.#bytes.length - start)
    return whole
  }

  /** What an entry asks for. EINVAL where its sectors are of another entry. */
  changesOf(entry: Entry): readonly Change[] {
    const bytes = this.#slice(entry.offset, entry.length)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const changes: Change[] = []
    let sector = headSectors(entry.descriptors) * logSector
    for (let i = 0; i < entry.descriptors; i++) {
      const at = LogField.headerSize + i * LogField.descriptorSize
      const signature = String.fromCharCode(...bytes.subarray(at, at + 4))
      const offset = Number(view.getBigUint64(at + 16, true))
      if (view.getBigUint64(at + 24, true) !== entry.sequence || !Number.isSafeInteger(offset)) throw damaged()
      if (offset % logSector !== 0) throw damaged()
      if (signature === 'zero') {
        const length = Number(view.getBigUint64(at + 8, true))
        if (length % logSector !== 0) throw damaged()
        changes.push({ offset, length, bytes: undefined })
      } else if (signature === 'desc' && sector + logSector <= bytes.length) {
        const data = bytes.slice(sector, sector + logSector)
        const own = new DataView(data.buffer)
        const number = BigInt(own.getUint32(4, true)) * 2n ** 32n + BigInt(own.getUint32(logSector - 4, true))
        if (String.fromCharCode(...data.subarray(0, 4)) !== 'data' || number !== entry.sequence) throw damaged()
        // The first eight bytes and the last four stand in the descriptor.
        data.set(bytes.subarray(at + 8, at + 16))
        data.set(bytes.subarray(at + 4, at + 8), logSector - 4)
        changes.push({ offset, length: logSector, bytes: data })
        sector += logSector
      } else throw damaged()
    }
    return changes
  }
}

/** Sectors of an entry before those with data. */
export function headSectors(descriptors: number): number {
  return Math.ceil((LogField.headerSize + descriptors * LogField.descriptorSize) / logSector)
}

function damaged(): BlockError {
  return new BlockError('EINVAL', 'the log of the image is damaged')
}

/** Brings the changes of a log into the file, and flushes them. */
export async function replayInto(file: ChildHandle, { changes, end }: Replay): Promise<void> {
  if (file.size < end) await file.truncate(end, { exact: false })
  for (const { offset, length, bytes } of changes) {
    if (bytes !== undefined) await file.write(offset, bytes)
    else await file.writeZeroes(offset, length)
  }
  await file.flush()
}

/** A file as it is after the log, which stays as it is: of an image that must not be written to. Only tables are read so. */
export class ReplayedFile implements TableFile {
  readonly #file: ChildHandle
  readonly #changes: readonly Change[]
  readonly write: TableFile['write']
  readonly writeZeroes: TableFile['writeZeroes']
  readonly discard: TableFile['discard']
  readonly flush: TableFile['flush']

  constructor(file: ChildHandle, { changes }: Replay) {
    this.#file = file
    this.#changes = changes
    this.write = file.write.bind(file)
    this.writeZeroes = file.writeZeroes.bind(file)
    this.discard = file.discard.bind(file)
    this.flush = file.flush.bind(file)
  }

  async read(offset: number, buf: Uint8Array, flags?: number, signal?: AbortSignal): Promise<void> {
    await this.#file.read(offset, buf, flags, signal)
    for (const change of this.#changes) {
      const start = Math.max(offset, change.offset)
      const end = Math.min(offset + buf.length, change.offset + change.length)
      if (start >= end) continue
      const target = buf.subarray(start - offset, end - offset)
      if (change.bytes === undefined) target.fill(0)
      else target.set(change.bytes.subarray(start - change.offset, end - change.offset))
    }
  }
}
