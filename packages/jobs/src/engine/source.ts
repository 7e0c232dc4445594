/** One disk, or several behind each other, as the source of a copy. */
import type { Disk, Node } from '@diskgraph/core'
import { BlockError } from '@diskgraph/core/driver'
import { TimeSlice } from '@diskgraph/core/internal'
import { JobError } from './work.ts'

/** What there is to do with a range of a source. */
export type Content =
  /** Stored: it has to be read. */
  | 'data'
  | 'zero'
  /** The layers that are looked at leave it to those below. */
  | 'absent'

/** A range of a source. */
export interface Range {
  readonly offset: number
  readonly length: number
  readonly content: Content
}

/** What of the disks a source shows. */
interface SourceOptions {
  /** Bytes at the start that are left out. */
  readonly skip?: number | undefined
  /** Bytes at most that are shown. */
  readonly length?: number | undefined
  /** The layer of a disk from which on downwards content counts as absent. */
  readonly baseOf?: ((disk: Disk) => Node | undefined) | undefined
  readonly signal?: AbortSignal | undefined
}

interface Part {
  readonly disk: Disk
  /** Where the disk begins: in front of the source, if some of it is left out. */
  readonly start: number
  readonly end: number
  readonly base: Node | undefined
}

/** Ranges are looked up in steps of this length at most, so that work begins before all of a disk is known. */
const longestStep = 2 ** 30
/** Longest part that is given up when it cannot be read. */
const salvageUnit = 512

/** Called for a part of a disk that cannot be read; it counts as zeroes. */
export type UnreadableListener = (offset: number, error: unknown) => void

/** See the top of the file. The disks stay the caller's. */
export class Source {
  readonly length: number
  readonly #parts: readonly Part[]
  readonly #signal: AbortSignal | undefined

  constructor(disks: readonly Disk[], options: SourceOptions = {}) {
    const { skip = 0, length = Number.POSITIVE_INFINITY, baseOf } = options
    let start = -skip
    this.#parts = disks.map((disk) => {
      const end = Math.min(start + disk.size, length)
      const part = { disk, start, end, base: baseOf?.(disk) }
      start = end
      return part
    })
    this.length = Math.max(0, start)
    this.#signal = options.signal
  }

  /** The ranges of the source in order; neighbours of the same content are mostly one range. */
  async *ranges(): AsyncGenerator<Range> {
    let open: Range | undefined
    for (const part of this.#parts) {
      const slice = new TimeSlice(part.disk.graph.clock, this.#signal)
      for (let at = Math.max(0, part.start); at < part.end; ) {
        await slice.end()
        const next = await this.#rangeAt(part, at)
        at += next.length
        if (open !== undefined && open.content === next.content && open.length < longestStep) {
          open = { ...open, length: open.length + next.length }
        } else {
          if (open !== undefined) yield open
          open = next
        }
      }
    }
    if (open !== undefined) yield open
  }

  async #rangeAt({ disk, start, end, base }: Part, offset: number): Promise<Range> {
    try {
      const extent = await disk.status(offset - start, Math.min(end - offset, longestStep), base, this.#signal)
      if (extent === undefined) throw new BlockError('EIO', `'${disk.filename}' was cut off at ${disk.size}`)
      const absent = base !== undefined && !extent.present
      return { offset, length: extent.length, content: absent ? 'absent' : extent.zero ? 'zero' : 'data' }
    } catch (error) {
      throw new JobError({ operation: 'status', disk: 'source', offset }, error)
    }
  }

  /** Fills `buf` from `offset`. With `onUnreadable`, parts that cannot be read are told and become zeroes. */
  async read(offset: number, buf: Uint8Array, onUnreadable?: UnreadableListener): Promise<void> {
    for (const { disk, start, end } of this.#parts) {
      const from = Math.max(offset, start)
      const to = Math.min(offset + buf.length, end)
      if (from >= to) continue
      const piece = buf.subarray(from - offset, to - offset)
      try {
        await disk.read(from - start, piece, 0, this.#signal)
      } catch (error) {
        if (onUnreadable === undefined || this.#signal?.aborted) throw readError(from, error)
        await this.#salvage(disk, start, from, piece, onUnreadable)
      }
    }
  }

  /** Reads by ever smaller parts. */
  async #salvage(
    disk: Disk,
    start: number,
    offset: number,
    buf: Uint8Array,
    onUnreadable: UnreadableListener,
  ): Promise<void> {
    const half = Math.ceil(buf.length / 2 / salvageUnit) * salvageUnit
    const parts = buf.length <= salvageUnit ? [buf] : [buf.subarray(0, half), buf.subarray(half)]
    let at = offset
    for (const part of parts) {
      try {
        await disk.read(at - start, part, 0, this.#signal)
      } catch (error) {
        if (this.#signal?.aborted) throw readError(at, error)
        if (part.length > salvageUnit) await this.#salvage(disk, start, at, part, onUnreadable)
        else {
          part.fill(0)
          onUnreadable(at, error)
        }
      }
      at += part.length
    }
  }

  /** Lets the storage copy a range to `target` by itself. ENOTSUP where it cannot. */
  async offload(offset: number, length: number, target: Disk): Promise<void> {
    for (const { disk, start, end } of this.#parts) {
      const from = Math.max(offset, start)
      const to = Math.min(offset + length, end)
      if (from >= to) continue
      await target.whileCounted(() => disk.edge.copyRange(from - start, target.edge, from, to - from, this.#signal))
    }
  }
}

function readError(offset: number, error: unknown): JobError {
  return new JobError({ operation: 'read', disk: 'source', offset }, error)
}
