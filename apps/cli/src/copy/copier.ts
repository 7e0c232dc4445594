/**
 * The copy engine.
 *
 * The ranges of the source come one after the other out of a generator that knows which of them are stored; stored
 * ones are cut into chunks of 2 MiB. Some lanes work at the same time: each takes the next chunk, reads it, looks
 * for zeroes in it, waits for its turn, writes and passes the turn on. The turn keeps writes in the order of the
 * disk, so that a format which allocates as it goes lays the disk out in order, while reads go ahead. Each lane has
 * one buffer: memory is bounded by lanes × chunk.
 *
 * The first error stops all lanes after what they have begun; it is thrown when all of them have ended.
 */
import { type Disk, Flag, isBlockError } from '@diskgraph/core'
import { EventLoop } from '../event-loop.ts'
import { alignedRanges } from './aligned-ranges.ts'
import type { Range, Source } from './source.ts'
import { findRuns } from './zero-scan.ts'

/** Where a copy goes. A {@link Disk} is one. */
export interface CopyTarget {
  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void>
  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void>
}

/** How a copy is done. */
export interface CopySettings {
  readonly source: Source
  readonly target: CopyTarget
  /** Zeroes in units of so many bytes are not written as data; 0: everything is written out. */
  readonly zeroUnit: number
  /** The target reads as zeroes before. */
  readonly targetIsZero: boolean
  /** Size of the clusters of the target; 1 where it has none. */
  readonly clusterSize: number
  /** Data is stored compressed. */
  readonly compressed?: boolean
  /** Chunks on their way at the same time. */
  readonly lanes: number
  /** Writes start in any order. */
  readonly unordered?: boolean
  /** The target as a disk whose storage may copy by itself where it can; no zeroes are looked for then. */
  readonly offload?: Disk
  /** Bytes per second; undefined: as fast as it goes. */
  readonly rate?: number
  /** Called for every part that cannot be read and becomes zeroes; without it such an error ends the copy. */
  readonly onUnreadable?: (offset: number, error: unknown) => void
  /** Called with the number of bytes that are done since the last time. */
  readonly onCopied?: (length: number) => void
  readonly signal?: AbortSignal
}

/** An error while the target was written, with the offset in it. */
export class TargetError extends Error {
  readonly offset: number

  constructor(offset: number, cause: unknown) {
    super(`cannot write at ${offset}`, { cause })
    this.offset = offset
  }
}

/** Longest read or write. */
export const chunkLength = 2 ** 21

/** Copies, and resolves when all of it is written. Nothing is flushed. */
export async function copyDisks(settings: CopySettings): Promise<void> {
  await new Copier(settings).run()
}

class Copier {
  readonly #settings: CopySettings
  readonly #chunks: AsyncGenerator<Chunk>
  readonly #turns: Turns | undefined
  readonly #pace: Pace | undefined
  readonly #loop: EventLoop
  #offload: Disk | undefined
  #failed = false

  constructor(settings: CopySettings) {
    this.#settings = settings
    this.#chunks = chunksOf(settings)
    this.#turns = settings.unordered ? undefined : new Turns()
    this.#pace = settings.rate === undefined ? undefined : new Pace(settings.rate)
    this.#loop = new EventLoop(settings.signal)
    this.#offload = settings.offload
  }

  async run(): Promise<void> {
    const lanes = Array.from({ length: this.#settings.lanes }, () => this.#lane())
    for (const result of await Promise.allSettled(lanes)) if (result.status === 'rejected') throw result.reason
  }

  async #lane(): Promise<void> {
    let buffer: Buffer | undefined
    while (!this.#failed) {
      let chunk: Chunk | undefined
      try {
        await this.#loop.turn()
        const next = await this.#chunks.next()
        if (next.done) return
        chunk = next.value
        await this.#pace?.wait(chunk.range.length)
        if (chunk.range.content !== 'data') await this.#zero(chunk)
        else if (!(await this.#offloaded(chunk))) {
          buffer ??= Buffer.allocUnsafeSlow(chunkLength)
          await this.#copy(chunk, buffer.subarray(0, chunk.range.length))
        }
        this.#settings.onCopied?.(chunk.range.length)
      } catch (error) {
        this.#failed = true
        throw error
      } finally {
        // Whoever waits behind a chunk that was given up must not wait for ever.
        if (chunk !== undefined) this.#turns?.pass(chunk.index)
      }
    }
  }

  async #zero({ range, index }: Chunk): Promise<void> {
    const { targetIsZero, zeroUnit } = this.#settings
    if (targetIsZero && zeroUnit > 0) return
    await this.#turn(index)
    if (zeroUnit > 0) await this.#write(range, this.#zeroRange(range.offset, range.length))
    else await this.#write(range, this.#writeData(range.offset, Buffer.alloc(range.length)))
  }

  async #copy({ range, index }: Chunk, buf: Buffer): Promise<void> {
    const { source, zeroUnit, targetIsZero, onUnreadable } = this.#settings
    await source.read(range.offset, buf, onUnreadable)
    const runs =
      zeroUnit === 0 ? [{ start: 0, length: buf.length, zero: false }] : findRuns(buf, range.offset, zeroUnit)
    await this.#turn(index)
    const writes: Promise<void>[] = []
    for (const { start, length, zero } of runs) {
      if (!zero) writes.push(this.#writeData(range.offset + start, buf.subarray(start, start + length)))
      else if (!targetIsZero) writes.push(this.#zeroRange(range.offset + start, length))
    }
    // Compressed data takes long to be made, so several chunks do that at a time. Plain writes of a file exclude
    // each other in the kernel: one after the other is faster than several that wait for each other.
    if (this.#settings.compressed) this.#turns?.pass(index)
    const [only] = writes
    await this.#write(range, writes.length === 1 ? (only as Promise<void>) : allSettled(writes))
  }

  /** Waits until all chunks before have started their writes. */
  async #turn(index: number): Promise<void> {
    await this.#turns?.wait(index)
  }

  #writeData(offset: number, buf: Buffer): Promise<void> {
    const { target, compressed, signal } = this.#settings
    return target.write(offset, buf, compressed ? Flag.Compressed : 0, signal)
  }

  #zeroRange(offset: number, length: number): Promise<void> {
    const { target, signal } = this.#settings
    return target.writeZeroes(offset, length, Flag.MayUnmap, signal)
  }

  async #write(range: Range, writes: Promise<void>): Promise<void> {
    try {
      await writes
    } catch (error) {
      throw new TargetError(range.offset, error)
    }
  }

  /** Whether storage has copied the chunk by itself. When it cannot do so once, it is not asked again. */
  async #offloaded({ range, index }: Chunk): Promise<boolean> {
    const target = this.#offload
    if (target === undefined) return false
    await this.#turn(index)
    try {
      await this.#settings.source.offload(range.offset, range.length, target)
      return true
    } catch (error) {
      if (!isBlockError(error) || error.code !== 'ENOTSUP') throw new TargetError(range.offset, error)
      this.#offload = undefined
      return false
    }
  }
}

/** Waits for all, then throws the first error. */
async function allSettled(writes: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(writes)) if (result.status === 'rejected') throw result.reason
}

/** A piece of work for a lane. */
interface Chunk {
  readonly range: Range
  readonly index: number
}

/** The ranges that need work, cut where chunks end; chunks end at multiples of their length in the target. */
async function* chunksOf(settings: CopySettings): AsyncGenerator<Chunk> {
  let index = 0
  for await (const range of workOf(settings)) {
    const longest = range.content === 'zero' && settings.zeroUnit > 0 ? 2 ** 30 : chunkLength
    for (let at = range.offset; at < range.offset + range.length; ) {
      const end = Math.min(range.offset + range.length, (Math.floor(at / longest) + 1) * longest)
      yield { range: { offset: at, length: end - at, content: range.content }, index: index++ }
      at = end
    }
  }
}

/** What of the source has to be written to the target: its length is what progress is measured by. */
export async function* workOf(
  settings: Pick<CopySettings, 'source' | 'clusterSize' | 'compressed' | 'zeroUnit' | 'targetIsZero'>,
): AsyncGenerator<Range> {
  const { source, clusterSize, compressed, zeroUnit, targetIsZero } = settings
  const ranges = source.ranges()
  for await (const range of clusterSize > 1 ? alignedRanges(ranges, clusterSize, compressed === true) : ranges) {
    if (range.content === 'absent' || (range.content === 'zero' && zeroUnit > 0 && targetIsZero)) continue
    yield range
  }
}

/** Lets chunks go on in their order. */
class Turns {
  #next = 0
  readonly #passed = new Set<number>()
  readonly #waiting = new Map<number, () => void>()

  wait(index: number): Promise<void> | undefined {
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

/** Keeps a copy below a rate. */
class Pace {
  readonly #rate: number
  readonly #start = performance.now()
  #copied = 0

  constructor(rate: number) {
    this.#rate = rate
  }

  async wait(length: number): Promise<void> {
    const due = this.#start + (this.#copied / this.#rate) * 1000
    this.#copied += length
    const left = due - performance.now()
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left))
  }
}
