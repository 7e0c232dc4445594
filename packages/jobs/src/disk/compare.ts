/**
 * Whether two disks have the same content.
 *
 * Ranges that read as zeroes on both sides are skipped by their block status. Where one side reads as zeroes, the
 * other is read and must be zeroes; else both are read. Several chunks are in flight at once; they are judged in
 * order, so that the first difference is the one that is reported. Behind the end of the shorter disk the longer one
 * must be zeroes.
 */
import type { Disk, Extent } from '@diskgraph/core'
import { BlockError, type Clock } from '@diskgraph/core/driver'
import { checkSettings, due, TimeSlice } from '@diskgraph/core/internal'
import { checkDisk, workRules } from '../engine/arguments.ts'
import { firstDifference } from '../engine/bytes.ts'
import { RateLimit } from '../engine/rate-limit.ts'
import { JobError, type JobOptions, runJob } from '../engine/work.ts'

/** How {@link compare} compares. */
export interface CompareOptions extends JobOptions {
  /** Sizes and block status must be the same, too. Default false. */
  readonly strict?: boolean | undefined
  /** The sizes differ; called when the part that both have is the same, before the rest is looked at. */
  readonly onSizeMismatch?: (() => void) | undefined
}

/** Where two disks differ first: in bytes, to the sector of 512. */
export type Difference =
  | { readonly kind: 'size' }
  | { readonly kind: 'status'; readonly offset: number }
  | { readonly kind: 'content'; readonly offset: number }

const chunkSize = 2 ** 20
const inFlight = 4
const sectorSize = 512

type Side = 0 | 1

const sides = ['first', 'second'] as const

/** What is to be read of a range: both sides, or one that must be zeroes, or nothing. */
interface Chunk {
  readonly offset: number
  readonly length: number
  readonly reads: readonly Side[]
}

/** A chunk and what is found in it. */
interface Judgement {
  readonly chunk: Chunk
  readonly result: Promise<Difference | JobError | undefined>
}

/** The end of a scan that found something. */
class Found extends Error {
  readonly difference: Difference

  constructor(difference: Difference) {
    super('the disks differ')
    this.difference = difference
  }
}

/**
 * The first difference of two disks; undefined if they hold the same. The longer disk must be zeroes where the other
 * has ended. Rejects with a {@link JobError} when one of them cannot be read before a difference is found.
 */
export function compare(first: Disk, second: Disk, options: CompareOptions = {}): Promise<Difference | undefined> {
  return runJob(options, async () => {
    checkSettings('compare', { ...workRules, strict: due.flag, onSizeMismatch: due.callback }, options)
    for (const disk of [first, second]) checkDisk('what compare compares', disk)
    if (options.strict && first.size !== second.size) return { kind: 'size' }
    try {
      await new Scan([first, second], options).run()
      return undefined
    } catch (error) {
      if (error instanceof Found) return error.difference
      throw error
    }
  })
}

class Scan {
  readonly #disks: readonly [Disk, Disk]
  readonly #options: CompareOptions
  readonly #clock: Clock
  readonly #total: number
  /** Buffers that no chunk uses now, in pairs. */
  readonly #buffers: [Uint8Array, Uint8Array][] = []
  readonly #zeroes = new Uint8Array(chunkSize)

  constructor(disks: readonly [Disk, Disk], options: CompareOptions) {
    this.#disks = disks
    this.#options = options
    this.#clock = disks[0].graph.clock
    this.#total = Math.max(disks[0].size, disks[1].size)
  }

  /** Rejects with {@link Found} for the first difference, and with a JobError. */
  async run(): Promise<void> {
    const { speed, signal, onSizeMismatch } = this.#options
    const limit = speed === undefined ? undefined : new RateLimit(this.#clock, speed, signal)
    const pending: Judgement[] = []
    this.#tell(0)
    try {
      for await (const chunk of this.#chunks()) {
        if (chunk === 'common part') {
          while (pending.length > 0) await this.#judgeFirst(pending)
          if (this.#disks[0].size !== this.#disks[1].size) onSizeMismatch?.()
          continue
        }
        if (chunk.reads.length > 0) await limit?.wait(chunk.length)
        pending.push({ chunk, result: this.#compare(chunk) })
        if (pending.length >= inFlight) await this.#judgeFirst(pending)
      }
    } catch (error) {
      // What was found before the chunk that failed comes first.
      while (pending.length > 0) await this.#judgeFirst(pending)
      throw error
    }
    while (pending.length > 0) await this.#judgeFirst(pending)
  }

  /** Waits for the oldest chunk; when that ends the scan for all others, too, as their buffers are in use. */
  async #judgeFirst(pending: Judgement[]): Promise<void> {
    const { chunk, result } = pending.shift() as Judgement
    const found = await result
    if (found === undefined) {
      this.#tell(chunk.offset + chunk.length)
      return
    }
    await Promise.all(pending.splice(0).map((other) => other.result))
    throw found instanceof JobError ? found : new Found(found)
  }

  #tell(done: number): void {
    this.#options.onProgress?.({ done, total: this.#total })
  }

  async *#chunks(): AsyncGenerator<Chunk | 'common part'> {
    const [first, second] = this.#disks
    const common = Math.min(first.size, second.size)
    const slice = new TimeSlice(this.#clock, this.#options.signal)
    for (let at = 0; at < common; ) {
      await slice.end()
      const extents = [await this.#status(0, at, common), await this.#status(1, at, common)] as const
      const length = Math.min(extents[0].length, extents[1].length)
      if (this.#options.strict && !sameStatus(extents, common)) throw new Found({ kind: 'status', offset: at })
      const reads = ([0, 1] as const).filter((side) => !readsAsZeroes(extents[side]))
      yield* cut(at, length, reads)
      at += length
    }
    yield 'common part'
    yield* this.#rest(common)
  }

  /** The part of the longer disk that the other does not have. */
  async *#rest(common: number): AsyncGenerator<Chunk> {
    const side = this.#disks[0].size > common ? 0 : 1
    const { size } = this.#disks[side]
    const slice = new TimeSlice(this.#clock, this.#options.signal)
    for (let at = common; at < size; ) {
      await slice.end()
      const extent = await this.#status(side, at, size)
      yield* cut(at, extent.length, readsAsZeroes(extent) ? [] : [side])
      at += extent.length
    }
  }

  async #status(side: Side, offset: number, end: number): Promise<Extent> {
    const disk = this.#disks[side]
    try {
      const extent = await disk.status(offset, end - offset, undefined, this.#options.signal)
      if (extent !== undefined) return extent
      throw new BlockError('EIO', `'${disk.filename}' was cut off at ${disk.size}`)
    } catch (error) {
      throw new JobError({ operation: 'status', disk: sides[side], offset }, error)
    }
  }

  /** What is found in one chunk. Never rejects. */
  async #compare({ offset, length, reads }: Chunk): Promise<Difference | JobError | undefined> {
    if (reads.length === 0) return undefined
    const buffers = this.#buffers.pop() ?? [new Uint8Array(chunkSize), new Uint8Array(chunkSize)]
    const results = await Promise.allSettled(
      reads.map((side) => this.#disks[side].read(offset, buffers[side].subarray(0, length), 0, this.#options.signal)),
    )
    for (const [i, result] of results.entries()) {
      if (result.status === 'fulfilled') continue
      return new JobError({ operation: 'read', disk: sides[reads[i] as Side], offset }, result.reason)
    }
    const [one, other] = reads.length === 2 ? buffers : [buffers[reads[0] as Side], this.#zeroes]
    const differs = firstDifference(one.subarray(0, length), other.subarray(0, length), sectorSize)
    this.#buffers.push(buffers)
    return differs === undefined ? undefined : { kind: 'content', offset: offset + differs }
  }
}

function readsAsZeroes({ zero, present }: Extent): boolean {
  return zero || !present
}

/** Whether two extents at the same offset say the same. That one ends with the disk counts, as in QEMU. */
function sameStatus([one, other]: readonly [Extent, Extent], end: number): boolean {
  const last = ({ offset, length }: Extent): boolean => offset + length >= end
  return (
    last(one) === last(other) &&
    one.data === other.data &&
    one.zero === other.zero &&
    one.present === other.present &&
    (one.hostOffset === undefined) === (other.hostOffset === undefined)
  )
}

function* cut(offset: number, length: number, reads: readonly Side[]): Generator<Chunk> {
  const size = reads.length === 0 ? length : chunkSize
  for (let at = 0; at < length; at += size) {
    yield { offset: offset + at, length: Math.min(size, length - at), reads }
  }
}
