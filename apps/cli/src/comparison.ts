/**
 * Whether two disks have the same content.
 *
 * Ranges that read as zeroes on both sides are skipped by their block status. Where one side reads as zeroes, the
 * other is read and must be zeroes; else both are read. Several chunks are in flight at once; they are judged in
 * order, so that the first difference is the one that is reported. Behind the end of the shorter disk the longer one
 * must be zeroes.
 */
import type { Disk, Extent } from '@diskgraph/core'
import { chainStatus } from '@diskgraph/core/internal'
import { Breath } from './breath.ts'

/** How {@link compareDisks} compares. */
export interface ComparisonOptions {
  /** Sizes and block status must be the same, too. */
  readonly strict: boolean
  readonly signal: AbortSignal
  /** The sizes differ; called when the part that both have is the same. */
  onSizeMismatch(): void
  onProgress(done: number, total: number): void
}

/** The first difference, or the error that ended the comparison. `side` is 0 for the first disk. */
export type Comparison =
  | { readonly kind: 'same' }
  | { readonly kind: 'size' }
  | { readonly kind: 'status'; readonly offset: number }
  | { readonly kind: 'content'; readonly offset: number }
  | {
      readonly kind: 'failed'
      readonly offset: number
      readonly side: 0 | 1
      readonly reading: boolean
      readonly error: unknown
    }

const chunkSize = 2 ** 20
const inFlight = 4
const sectorSize = 512

/** What is to be read of a range: both sides, or one that must be zeroes, or nothing. */
interface Chunk {
  readonly offset: number
  readonly length: number
  readonly reads: readonly (0 | 1)[]
}

/** A chunk and what is found in it. */
interface Judgement {
  readonly chunk: Chunk
  readonly difference: Promise<Comparison | undefined>
}

/** A difference, as a rejection of the scan. */
class Difference extends Error {
  readonly result: Comparison

  constructor(result: Comparison) {
    super('the disks differ')
    this.result = result
  }
}

/** Compares two disks from the start. */
export async function compareDisks(first: Disk, second: Disk, options: ComparisonOptions): Promise<Comparison> {
  const disks = [first, second] as const
  if (options.strict && first.size !== second.size) return { kind: 'size' }
  const comparison = new Scan(disks, options)
  try {
    await comparison.run()
    return { kind: 'same' }
  } catch (error) {
    if (error instanceof Difference) return error.result
    throw error
  }
}

class Scan {
  readonly #disks: readonly [Disk, Disk]
  readonly #options: ComparisonOptions
  readonly #total: number
  /** Buffers that no chunk uses now, in pairs. */
  readonly #buffers: [Uint8Array, Uint8Array][] = []
  readonly #zeroes = new Uint8Array(chunkSize)

  constructor(disks: readonly [Disk, Disk], options: ComparisonOptions) {
    this.#disks = disks
    this.#options = options
    this.#total = Math.max(disks[0].size, disks[1].size)
  }

  /** Rejects with the first {@link Difference}. */
  async run(): Promise<void> {
    const pending: Judgement[] = []
    try {
      for await (const chunk of this.#chunks()) {
        if (chunk === 'common part') {
          while (pending.length > 0) await this.#judge(pending)
          if (this.#disks[0].size !== this.#disks[1].size) this.#options.onSizeMismatch()
          continue
        }
        pending.push({ chunk, difference: this.#compare(chunk) })
        if (pending.length >= inFlight) await this.#judge(pending)
      }
    } catch (error) {
      // What was found before the chunk that failed comes first.
      while (pending.length > 0) await this.#judge(pending)
      throw error
    }
    while (pending.length > 0) await this.#judge(pending)
  }

  /** Waits for the oldest chunk; on a difference for all others, too, as their buffers are in use. */
  async #judge(pending: Judgement[]): Promise<void> {
    const { chunk, difference } = pending.shift() as Judgement
    const result = await difference
    if (result === undefined) {
      this.#options.onProgress(chunk.offset + chunk.length, this.#total)
      return
    }
    await Promise.all(pending.splice(0).map((other) => other.difference))
    throw new Difference(result)
  }

  async *#chunks(): AsyncGenerator<Chunk | 'common part'> {
    const [first, second] = this.#disks
    const common = Math.min(first.size, second.size)
    const breath = new Breath(this.#options.signal)
    for (let at = 0; at < common; ) {
      await breath.take()
      const extents = [await this.#status(0, at, common), await this.#status(1, at, common)] as const
      const length = Math.min(extents[0].length, extents[1].length)
      if (this.#options.strict && !sameStatus(extents, common)) throw new Difference({ kind: 'status', offset: at })
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
    const breath = new Breath(this.#options.signal)
    for (let at = common; at < size; ) {
      await breath.take()
      const extent = await this.#status(side, at, size)
      yield* cut(at, extent.length, readsAsZeroes(extent) ? [] : [side])
      at += extent.length
    }
  }

  async #status(side: 0 | 1, offset: number, end: number): Promise<Extent> {
    try {
      return await chainStatus(this.#disks[side].node, undefined, offset, end - offset, this.#options.signal)
    } catch (error) {
      throw new Difference({ kind: 'failed', offset, side, reading: false, error })
    }
  }

  /** The difference in one chunk. Never rejects. */
  async #compare({ offset, length, reads }: Chunk): Promise<Comparison | undefined> {
    if (reads.length === 0) return undefined
    const buffers = this.#buffers.pop() ?? [new Uint8Array(chunkSize), new Uint8Array(chunkSize)]
    const results = await Promise.allSettled(
      reads.map((side) => this.#disks[side].read(offset, buffers[side].subarray(0, length), 0, this.#options.signal)),
    )
    const failed = results.findIndex(({ status }) => status === 'rejected')
    if (failed >= 0) {
      const error = (results[failed] as PromiseRejectedResult).reason
      return { kind: 'failed', offset, side: reads[failed] as 0 | 1, reading: true, error }
    }
    const [one, other] = reads.length === 2 ? buffers : [buffers[reads[0] as 0 | 1], this.#zeroes]
    const differs = firstDifference(one.subarray(0, length), other.subarray(0, length))
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

function* cut(offset: number, length: number, reads: readonly (0 | 1)[]): Generator<Chunk> {
  const size = reads.length === 0 ? length : chunkSize
  for (let at = 0; at < length; at += size) {
    yield { offset: offset + at, length: Math.min(size, length - at), reads }
  }
}

/** The first sector in which two buffers of one length differ, in bytes from their start. */
export function firstDifference(one: Uint8Array, other: Uint8Array): number | undefined {
  if (Buffer.compare(one, other) === 0) return undefined
  let low = 0
  let high = one.length
  while (high - low > sectorSize) {
    const middle = low + Math.ceil((high - low) / 2 / sectorSize) * sectorSize
    if (Buffer.compare(one.subarray(low, middle), other.subarray(low, middle)) === 0) low = middle
    else high = middle
  }
  return low
}
