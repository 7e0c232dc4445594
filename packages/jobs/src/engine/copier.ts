/**
 * The copy engine.
 *
 * The ranges of the source come one after the other out of a generator that knows which of them are stored; stored
 * ones are cut into chunks of 2 MiB. Some workers run at the same time: each takes the next chunk, reads it, looks
 * for zeroes in it, waits for its turn, writes and passes the turn on. The turn keeps writes in the order of the
 * disk, so that a format which allocates as it goes lays the disk out in order, while reads go ahead.
 */
import { type Clock, type Disk, Flag, isBlockError } from '@diskgraph/core'
import { alignUp } from '@diskgraph/core/driver'
import { TimeSlice } from '@diskgraph/core/internal'
import { alignedRanges } from './aligned-ranges.ts'
import { runPool } from './pool.ts'
import { RateLimit } from './rate-limit.ts'
import type { Range, Source } from './source.ts'
import { Transfer, type TransferSettings, type Turn } from './transfer.ts'
import { JobError, type JobOptions } from './work.ts'

/** How a copy is done. */
interface CopySettings extends TransferSettings, JobOptions {
  readonly source: Source
  readonly clock: Clock
  /** Size of the clusters of the target; 1 where it has none. */
  readonly clusterSize: number
  /** Chunks on their way at the same time. */
  readonly workers: number
  /** Writes start in the order of the disk. */
  readonly ordered: boolean
  /** The target as a disk whose storage may copy by itself where it can; no zeroes are looked for then. */
  readonly offload?: Disk | undefined
}

/** Longest read or write. */
export const chunkLength = 2 ** 21
const longestZeroes = 2 ** 30

/** Copies, and resolves when all of it is written. Nothing is flushed. */
export async function runCopy(settings: CopySettings): Promise<void> {
  const { onProgress } = settings
  if (onProgress === undefined) return new Copier(settings).run()
  let total = 0
  for await (const { length } of workOf(settings)) total += length
  let done = 0
  onProgress({ done, total })
  const onCopied = (length: number): void => {
    // A source that is in use may have more by now than was counted.
    done = Math.min(done + length, total)
    if (done < total) onProgress({ done, total })
  }
  await new Copier(settings, onCopied).run()
  onProgress({ done: total, total })
}

class Copier {
  readonly #settings: CopySettings
  readonly #transfer: Transfer
  readonly #order: WriteOrder | undefined
  readonly #limit: RateLimit | undefined
  readonly #slice: TimeSlice
  readonly #onCopied: ((length: number) => void) | undefined
  #offload: Disk | undefined

  constructor(settings: CopySettings, onCopied?: (length: number) => void) {
    const { clock, speed, signal, ordered, offload } = settings
    this.#settings = settings
    this.#transfer = new Transfer(settings)
    this.#limit = speed === undefined ? undefined : new RateLimit(clock, speed, signal)
    this.#order = ordered ? new WriteOrder() : undefined
    this.#slice = new TimeSlice(clock, signal)
    this.#offload = offload
    this.#onCopied = onCopied
  }

  run(): Promise<void> {
    const chunks = chunksOf(this.#settings, this.#limit?.longestPiece ?? chunkLength)
    return runPool(chunks, this.#settings.workers, chunkLength, (chunk, buffer) => this.#work(chunk, buffer))
  }

  async #work({ range, index }: Chunk, buffer: () => Uint8Array): Promise<void> {
    const turn = this.#order?.of(index)
    try {
      await this.#slice.end()
      if (range.content === 'zero' && this.#settings.zeroUnit > 0) await this.#transfer.zero(range, turn)
      else {
        await this.#limit?.wait(range.length)
        if (!(await this.#offloaded(range, turn))) {
          await this.#transfer.copy(range, buffer().subarray(0, range.length), turn)
        }
      }
      this.#onCopied?.(range.length)
    } finally {
      // Whoever waits behind a chunk that was given up must not wait for ever.
      turn?.pass()
    }
  }

  /** Whether storage has copied the range by itself. When it cannot do so once, it is not asked again. */
  async #offloaded(range: Range, turn: Turn | undefined): Promise<boolean> {
    const target = this.#offload
    if (target === undefined) return false
    await turn?.wait()
    try {
      await this.#settings.source.offload(range.offset, range.length, target)
      return true
    } catch (error) {
      if (!isBlockError(error) || error.code !== 'ENOTSUP') {
        throw new JobError({ operation: 'write', disk: 'target', offset: range.offset }, error)
      }
      this.#offload = undefined
      return false
    }
  }
}

/** A piece of work. */
interface Chunk {
  readonly range: Range
  readonly index: number
}

/** The ranges that need work, cut where chunks end; chunks end at multiples of their length in the target. */
async function* chunksOf(settings: CopySettings, longestPiece: number): AsyncGenerator<Chunk> {
  const { zeroUnit, clusterSize } = settings
  const longestData = Math.min(chunkLength, alignUp(longestPiece, Math.max(zeroUnit, clusterSize, 4096)))
  let index = 0
  for await (const range of workOf(settings)) {
    const longest = range.content === 'zero' && zeroUnit > 0 ? longestZeroes : longestData
    for (let at = range.offset; at < range.offset + range.length; ) {
      const end = Math.min(range.offset + range.length, (Math.floor(at / longest) + 1) * longest)
      yield { range: { offset: at, length: end - at, content: range.content }, index: index++ }
      at = end
    }
  }
}

/** What of the source has to be written to the target: its length is what progress is measured by. */
async function* workOf(settings: CopySettings): AsyncGenerator<Range> {
  const { source, clusterSize, writeFlags, zeroUnit, targetIsZero } = settings
  const ranges = source.ranges()
  const whole = (writeFlags & Flag.Compressed) !== 0
  for await (const range of clusterSize > 1 ? alignedRanges(ranges, clusterSize, whole) : ranges) {
    if (range.content === 'absent' || (range.content === 'zero' && zeroUnit > 0 && targetIsZero)) continue
    yield range
  }
}

/** Lets chunks be written in their order. */
class WriteOrder {
  #next = 0
  readonly #passed = new Set<number>()
  readonly #waiting = new Map<number, () => void>()

  /** The turn of the chunk `index`. */
  of(index: number): Turn {
    return { wait: () => this.#turn(index), pass: () => this.#pass(index) }
  }

  /** Waits until all chunks before have started their writes. */
  #turn(index: number): Promise<void> | undefined {
    if (index <= this.#next) return undefined
    return new Promise((resolve) => this.#waiting.set(index, resolve))
  }

  /** The chunk `index` holds nobody up any more. May be called twice. */
  #pass(index: number): void {
    if (index < this.#next) return
    this.#passed.add(index)
    while (this.#passed.delete(this.#next)) this.#next++
    const wake = this.#waiting.get(this.#next)
    this.#waiting.delete(this.#next)
    wake?.()
  }
}
