/** One piece of a copy: read, look for zeroes, write. Every copy of this package, live or not, is made of these. */
import { Flag } from '@diskgraph/core'
import type { Range, UnreadableListener } from './source.ts'
import { allSettled, JobError } from './work.ts'
import { zeroRuns } from './zero-runs.ts'

/** Where a copy comes from. */
interface Reader {
  /** Fills `buf`. With `onUnreadable`, parts that cannot be read are told and become zeroes. */
  read(offset: number, buf: Uint8Array, onUnreadable?: UnreadableListener): Promise<void>
}

/** What a copy does with its target. */
export interface Writer {
  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void>
  writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void>
}

/** How pieces are moved. */
export interface TransferSettings {
  readonly source: Reader
  readonly target: Writer
  /** Zeroes in units of so many bytes are not written as data; 0: what is read is written as it is. */
  readonly zeroUnit: number
  /** The target reads as zeroes before. */
  readonly targetIsZero: boolean
  /** Flags of every write of data: `Flag.Compressed`, `Flag.Unchanged`. */
  readonly writeFlags: number
  /** Zeroes may be made by deallocating. Default true. */
  readonly unmap?: boolean | undefined
  /** Called for every part that cannot be read and becomes zeroes; without it such an error ends the copy. */
  readonly onUnreadable?: UnreadableListener | undefined
  readonly signal?: AbortSignal | undefined
}

/** Holds writes back until those before have begun. */
export interface Turn {
  wait(): Promise<void> | undefined
  pass(): void
}

/** See the top of the file. */
export class Transfer {
  readonly #settings: TransferSettings

  constructor(settings: TransferSettings) {
    this.#settings = settings
  }

  /** Makes `range` of the target read as zeroes. */
  async zero(range: Range, turn?: Turn): Promise<void> {
    await turn?.wait()
    await written(range, this.#zeroRange(range.offset, range.length))
  }

  /** Copies `range` by way of `buf`, which is as long. */
  async copy(range: Range, buf: Uint8Array, turn?: Turn): Promise<void> {
    const { source, zeroUnit, targetIsZero, onUnreadable, writeFlags } = this.#settings
    if (range.content === 'zero') buf.fill(0)
    else await source.read(range.offset, buf, onUnreadable)
    const runs = zeroRuns(buf, range.offset, zeroUnit)
    await turn?.wait()
    const writes: Promise<void>[] = []
    for (const { start, length, zero } of runs) {
      if (!zero) writes.push(this.#writeData(range.offset + start, buf.subarray(start, start + length)))
      else if (!targetIsZero) writes.push(this.#zeroRange(range.offset + start, length))
    }
    // Compressed data takes long to be made, so several chunks do that at a time. Plain writes of a file exclude
    // each other in the kernel: one after the other is faster than several that wait for each other.
    if ((writeFlags & Flag.Compressed) !== 0) turn?.pass()
    const [only] = writes
    await written(range, writes.length === 1 ? (only as Promise<void>) : allSettled(writes))
  }

  #writeData(offset: number, buf: Uint8Array): Promise<void> {
    const { target, writeFlags, signal } = this.#settings
    return target.write(offset, buf, writeFlags, signal)
  }

  #zeroRange(offset: number, length: number): Promise<void> {
    const { target, writeFlags, unmap = true, signal } = this.#settings
    return target.writeZeroes(offset, length, (unmap ? Flag.MayUnmap : 0) | (writeFlags & Flag.Unchanged), signal)
  }
}

/** Asks something of the source; an error says where. */
export async function reading<T>(operation: 'read' | 'status', offset: number, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask()
  } catch (error) {
    throw new JobError({ operation, disk: 'source', offset }, error)
  }
}

async function written(range: Range, writes: Promise<void>): Promise<void> {
  try {
    await writes
  } catch (error) {
    throw new JobError({ operation: 'write', disk: 'target', offset: range.offset }, error)
  }
}
