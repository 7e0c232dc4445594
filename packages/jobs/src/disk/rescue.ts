/**
 * Reading what can be read of a damaged disk.
 *
 * The disk is walked once, from its start to its end. A range is missing where its status cannot be told, where a layer
 * of the chain has lost what maps it, where it is mapped behind the end of a file that was cut, and where it cannot be
 * read: then the pieces of the chunk are read one by one, each of them once. Nothing is tried a second time, and no
 * list is kept: who calls hears of each missing range when it is over.
 */
import { BlockError, type Disk, type Extent, type Node } from '@diskgraph/core'
import { alignDown, alignUp, toBlockError } from '@diskgraph/core/driver'
import { checkSettings, due, kindOf, TimeSlice, wholeNumber } from '@diskgraph/core/internal'
import { checkDisk, workRules } from '../engine/arguments.ts'
import { RateLimit } from '../engine/rate-limit.ts'
import type { Writer } from '../engine/transfer.ts'
import { JobError, type JobOptions, runJob } from '../engine/work.ts'

/** A range of the disk that could not be read. */
export interface MissingRange {
  /** In bytes, as is `length`. */
  readonly offset: number
  readonly length: number
  /** Why it is missing. */
  readonly reason: string
}

/** How {@link rescue} works. */
export interface RescueOptions extends JobOptions {
  /** The byte that is written where nothing could be read. Default 0. */
  readonly pattern?: number | undefined
  /** Called for each range that is missing, in the order of the disk. */
  readonly onMissing?: ((range: MissingRange) => void) | undefined
  /** Whether the target reads as zeroes already, so that zeroes need not be written. Default false. */
  readonly targetIsZero?: boolean | undefined
}

/** What came of it, in bytes; together the size of the disk. */
export interface RescueResult {
  readonly data: number
  readonly zero: number
  readonly missing: number
}

/** Where it goes: a {@link Disk}, or anything else that takes writes. */
export interface RescueTarget extends Writer {
  readonly size?: number
  flush?(signal?: AbortSignal): Promise<void>
}

const chunkSize = 2 ** 20
/** So many bytes are missing at least where a chunk cannot be read. */
const pieceSize = 4096
const longestStatus = 2 ** 30
const sectorSize = 512

/**
 * Writes what can be read of `source` to the start of `target`, and zeroes or a pattern where nothing can be read, and
 * flushes it. Rejects with a {@link JobError} when the target cannot be written, ENOSPC when it is smaller.
 */
export function rescue(source: Disk, target: RescueTarget, options: RescueOptions = {}): Promise<RescueResult> {
  return runJob(options, async () => {
    const rules = { ...workRules, pattern: wholeNumber(0, 255), onMissing: due.callback, targetIsZero: due.flag }
    checkSettings('rescue', rules, options)
    checkDisk('the source of rescue', source)
    if (typeof target?.write !== 'function' || typeof target.writeZeroes !== 'function') {
      throw new BlockError(
        'EINVAL',
        `the target of rescue has write() and writeZeroes(), which ${kindOf(target)} has not`,
      )
    }
    if (target.size !== undefined && target.size < source.size) {
      throw new BlockError('ENOSPC', `cannot rescue ${source.size} bytes to a target of ${target.size} bytes`)
    }
    return new Walk(source, target, options).run()
  })
}

class Walk {
  readonly #source: Disk
  readonly #target: RescueTarget
  readonly #options: RescueOptions
  readonly #limit: RateLimit
  readonly #clusters = new Map<Node, number>()
  readonly #buf = new Uint8Array(chunkSize)
  #missing: { offset: number; length: number; reason: string } | undefined
  #counts = { data: 0, zero: 0, missing: 0 }

  constructor(source: Disk, target: RescueTarget, options: RescueOptions) {
    this.#source = source
    this.#target = target
    this.#options = options
    this.#limit = new RateLimit(source.graph.clock, options.speed ?? Number.POSITIVE_INFINITY, options.signal)
  }

  async run(): Promise<RescueResult> {
    const { signal, onProgress } = this.#options
    const { size } = this.#source
    const slice = new TimeSlice(this.#source.graph.clock, signal)
    onProgress?.({ done: 0, total: size })
    try {
      for (let at = 0; at < size; ) {
        await slice.end()
        at += await this.#step(at, Math.min(size - at, longestStatus))
        onProgress?.({ done: at, total: size })
      }
    } finally {
      // Also of a walk that ends early: what it has written is of use with the list of what is missing there.
      this.#tellMissing()
    }
    await this.#target.flush?.(signal)
    return this.#counts
  }

  /** Does the part of a range that is of one kind; returns how long it is. */
  async #step(offset: number, length: number): Promise<number> {
    const { signal } = this.#options
    let extent: Extent | undefined
    try {
      extent = await this.#source.status(offset, length, undefined, signal)
    } catch (error) {
      const reason = reasonOf(error, signal)
      const unit = alignUp(offset + 1, await this.#clusterSize(this.#source.node)) - offset
      // What is wrong may be further on.
      return length > unit ? this.#step(offset, unit) : this.#lose(offset, length, reason)
    }
    if (extent === undefined) return length
    const mapped = await this.#mapped(extent)
    if (mapped.lost) return this.#lose(offset, mapped.length, 'what maps it is lost')
    const there = await this.#inFile(extent.node, offset, mapped.length)
    if (there <= 0) return this.#lose(offset, mapped.length, 'it stood behind the end of the file')
    if (extent.zero || !extent.data) return this.#zero(offset, Math.min(mapped.length, there))
    return this.#copy(offset, Math.min(mapped.length, there, chunkSize))
  }

  /** Whether all layers down to the one that decides have what maps the range. */
  async #mapped({ offset, length, node: deciding }: Extent): Promise<{ lost: boolean; length: number }> {
    let limit = length
    for (let node: Node | undefined = this.#source.node; node !== undefined; ) {
      if (offset < node.size) {
        const mapping = await node.image.mappingLost?.(offset, Math.min(limit, node.size - offset))
        limit = Math.min(limit, mapping?.length ?? limit)
        if (mapping?.lost) return { lost: true, length: limit }
      }
      node = node === deciding ? undefined : (node.filtered ?? node.backing)?.node
    }
    return { lost: false, length: limit }
  }

  /** How many bytes from `offset` on stand inside the file of a layer, in whole units of what it can read. */
  async #inFile(node: Node, offset: number, length: number): Promise<number> {
    // What the layer itself says: that a file has no data behind its end would be taken for zeroes.
    const status = await node.imageStatus(offset, length, this.#options.signal)
    const { data, file, offset: host } = status
    if (!data || file === undefined || host === undefined) return Number.POSITIVE_INFINITY
    // A raw disk is its file, in whole sectors.
    const raw = status.recurse === 'all' && file === node.storage
    const there = (raw ? alignUp(file.size, sectorSize) : file.size) - host
    if (there >= length) return there
    const { alignment } = node.limits
    return alignDown(offset + Math.max(0, there), alignment) - offset
  }

  async #clusterSize(node: Node): Promise<number> {
    let size = this.#clusters.get(node)
    if (size === undefined) {
      const info = await Promise.resolve(node.image.info?.()).catch(() => undefined)
      size = Math.max(pieceSize, info?.clusterSize ?? pieceSize)
      this.#clusters.set(node, size)
    }
    return size
  }

  async #copy(offset: number, length: number): Promise<number> {
    const { signal } = this.#options
    const buf = this.#buf.subarray(0, length)
    await this.#limit.wait(length)
    try {
      await this.#source.read(offset, buf, 0, signal)
    } catch (error) {
      reasonOf(error, signal)
      return this.#copyPieces(offset, length)
    }
    await this.#write(offset, () => this.#target.write(offset, buf, 0, signal))
    this.#counts.data += length
    return length
  }

  async #copyPieces(offset: number, length: number): Promise<number> {
    const { signal } = this.#options
    for (let done = 0; done < length; ) {
      const at = offset + done
      const step = Math.min(length - done, alignUp(at + 1, pieceSize) - at)
      const piece = this.#buf.subarray(0, step)
      const reason = await this.#source.read(at, piece, 0, signal).then(
        () => undefined,
        (error) => reasonOf(error, signal),
      )
      if (reason !== undefined) await this.#lose(at, step, reason)
      else {
        await this.#write(at, () => this.#target.write(at, piece, 0, signal))
        this.#counts.data += step
      }
      done += step
    }
    return length
  }

  async #zero(offset: number, length: number): Promise<number> {
    await this.#fill(offset, length, 0)
    this.#counts.zero += length
    return length
  }

  async #lose(offset: number, length: number, reason: string): Promise<number> {
    await this.#fill(offset, length, this.#options.pattern ?? 0)
    this.#counts.missing += length
    const last = this.#missing
    if (last !== undefined && last.offset + last.length === offset && last.reason === reason) last.length += length
    else {
      this.#tellMissing()
      this.#missing = { offset, length, reason }
    }
    return length
  }

  #tellMissing(): void {
    if (this.#missing !== undefined) this.#options.onMissing?.(this.#missing)
    this.#missing = undefined
  }

  async #fill(offset: number, length: number, byte: number): Promise<void> {
    const { signal, targetIsZero } = this.#options
    if (byte === 0) {
      if (targetIsZero !== true) await this.#write(offset, () => this.#target.writeZeroes(offset, length, 0, signal))
      return
    }
    const bytes = new Uint8Array(Math.min(length, chunkSize)).fill(byte)
    for (let done = 0; done < length; done += bytes.length) {
      const part = bytes.subarray(0, Math.min(bytes.length, length - done))
      await this.#write(offset + done, () => this.#target.write(offset + done, part, 0, signal))
    }
  }

  async #write(offset: number, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      throw new JobError({ operation: 'write', disk: 'target', offset }, error)
    }
  }
}

/** Why something is missing. An abort is no reason: it ends the walk. */
function reasonOf(error: unknown, signal: AbortSignal | undefined): string {
  if (signal?.aborted) throw error
  return toBlockError(error).message
}
