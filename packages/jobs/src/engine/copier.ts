/**
 * The copy engine.
 *
 * The ranges of the source come one after the other out of a generator that knows which of them are stored; stored
 * ones are cut into chunks of 2 MiB. Some workers run at the same time: each takes the next chunk, reads it, looks
 * for zeroes in it, waits for its turn, writes and passes the turn on. The turn keeps writes in the order of the
 * disk, so that a format which allocates as it goes lays the disk out in order, while reads go ahead. Each worker has
 * one buffer: memory is bounded by workers × chunk.
 *
 * The first error stops all workers after what they have begun; it is thrown when all of them have ended.
 */
import { type Clock, type Disk, Flag, isBlockError } from '@diskgraph/core'
import { alignUp } from '@diskgraph/core/driver'
import { TimeSlice } from '@diskgraph/core/internal'
import { alignedRanges } from './aligned-ranges.ts'
import { RateLimit } from './rate-limit.ts'
import type { Range, Source, UnreadableListener } from './source.ts'
import { allSettled, JobError, type JobOptions } from './work.ts'
import { zeroRuns } from './zero-runs.ts'

/** What a copy does with its target. */
export interface Writer {
  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void>
  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void>
}

/** How a copy is done. */
interface CopySettings extends JobOptions {
  readonly source: Source
  readonly target: Writer
  readonly clock: Clock
  /** Zeroes in units of so many bytes are not written as data; 0: everything is written out. */
  readonly zeroUnit: number
  /** The target reads as zeroes before. */
  readonly targetIsZero: boolean
  /** Size of the clusters of the target; 1 where it has none. */
  readonly clusterSize: number
  /** Flags of every write of data: `Flag.Compressed`, `Flag.Unchanged`. */
  readonly writeFlags: number
  /** Chunks on their way at the same time. */
  readonly workers: number
  /** Writes start in the order of the disk. */
  readonly ordered: boolean
  /** The target as a disk whose storage may copy by itself where it can; no zeroes are looked for then. */
  readonly offload?: Disk | undefined
  /** Called for every part that cannot be read and becomes zeroes; without it such an error ends the copy. */
  readonly onUnreadable?: UnreadableListener | undefined
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
  readonly #chunks: AsyncGenerator<Chunk>
  readonly #order: WriteOrder | undefined
  readonly #limit: RateLimit | undefined
  readonly #slice: TimeSlice
  readonly #onCopied: ((length: number) => void) | undefined
  #offload: Disk | undefined
  #failed = false

  constructor(settings: CopySettings, onCopied?: (length: number) => void) {
    const { clock, speed, signal, ordered, offload } = settings
    this.#settings = settings
    this.#limit = speed === undefined ? undefined : new RateLimit(clock, speed, signal)
    this.#chunks = chunksOf(settings, this.#limit?.longestPiece ?? chunkLength)
    this.#order = ordered ? new WriteOrder() : undefined
    this.#slice = new TimeSlice(clock, signal)
    this.#offload = offload
    this.#onCopied = onCopied
  }

  run(): Promise<void> {
    return allSettled(Array.from({ length: this.#settings.workers }, () => this.#work()))
  }

  async #work(): Promise<void> {
    let buffer: Uint8Array | undefined
    while (!this.#failed) {
      let chunk: Chunk | undefined
      try {
        await this.#slice.end()
        const next = await this.#chunks.next()
        if (next.done) return
        chunk = next.value
        if (chunk.range.content === 'zero' && this.#settings.zeroUnit > 0) await this.#zero(chunk)
        else {
          await this.#limit?.wait(chunk.range.length)
          if (!(await this.#offloaded(chunk))) {
            buffer ??= new Uint8Array(chunkLength)
            await this.#copy(chunk, buffer.subarray(0, chunk.range.length))
          }
        }
        this.#onCopied?.(chunk.range.length)
      } catch (error) {
        this.#failed = true
        throw error
      } finally {
        // Whoever waits behind a chunk that was given up must not wait for ever.
        if (chunk !== undefined) this.#order?.pass(chunk.index)
      }
    }
  }

  async #zero({ range, index }: Chunk): Promise<void> {
    await this.#order?.turn(index)
    await this.#write(range, this.#zeroRange(range.offset, range.length))
  }

  async #copy({ range, index }: Chunk, buf: Uint8Array): Promise<void> {
    const { source, zeroUnit, targetIsZero, onUnreadable, writeFlags } = this.#settings
    if (range.content === 'zero') buf.fill(0)
    else await source.read(range.offset, buf, onUnreadable)
    const runs = zeroRuns(buf, range.offset, zeroUnit)
    await this.#order?.turn(index)
    const writes: Promise<void>[] = []
    for (const { start, length, zero } of runs) {
      if (!zero) writes.push(this.#writeData(range.offset + start, buf.subarray(start, start + length)))
      else if (!targetIsZero) writes.push(this.#zeroRange(range.offset + start, length))
    }
    // Compressed data takes long to be made, so several chunks do that at a time. Plain writes of a file exclude
    // each other in the kernel: one after the other is faster than several that wait for each other.
    if ((writeFlags & Flag.Compressed) !== 0) this.#order?.pass(index)
    const [only] = writes
    await this.#write(range, writes.length === 1 ? (only as Promise<void>) : allSettled(writes))
  }

  #writeData(offset: number, buf: Uint8Array): Promise<void> {
    const { target, writeFlags, signal } = this.#settings
    return target.write(offset, buf, writeFlags, signal)
  }

  #zeroRange(offset: number, length: number): Promise<void> {
    const { target, writeFlags, signal } = this.#settings
    return target.writeZeroes(offset, length, Flag.MayUnmap | (writeFlags & Flag.Unchanged), signal)
  }

  async #write(range: Range, writes: Promise<void>): Promise<void> {
    try {
      await writes
    } catch (error) {
      throw new JobError({ operation: 'write', disk: 'target', offset: range.offset }, error)
    }
  }

  /** Whether storage has copied the chunk by itself. When it cannot do so once, it is not asked again. */
  async #offloaded({ range, index }: Chunk): Promise<boolean> {
    const target = this.#offload
    if (target === undefined) return false
    await this.#order?.turn(index)
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

  /** Waits until all chunks before have started their writes. */
  turn(index: number): Promise<void> | undefined {
    if (index <= this.#next) return undefined
    return new Promise((resolve) => this.#waiting.set(index, resolve))
  }

  /** The chunk `index` holds nobody up any more. May be called twice. */
  pass(index: number): void {
    if (index < this.#next) return
    this.#passed.add(index)
    while (this.#passed.delete(this.#next)) this.#next++
    const wake = this.#waiting.get(this.#next)
    this.#waiting.delete(this.#next)
    wake?.()
  }
}
