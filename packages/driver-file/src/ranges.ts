import { BlockError, type BlockStatus } from '@diskgraph/core/driver'
import { isUnsupported } from './errors.ts'

/**
 * Zeroing, discarding and block status of ranges: what a file does with holes, and a block device by commands of its
 * own. What turns out not to work answers ENOTSUP from then on, without being tried again.
 */
export interface Ranges {
  /** Makes a range zeroes; a file grows when the range passes its end. `flags` are those of the contract. */
  writeZeroes(offset: number, length: number, flags: number): Promise<void>
  /** Deallocates a range. */
  discard(offset: number, length: number): Promise<void>
  /** What is allocated from `offset` on. */
  status(offset: number, length: number): BlockStatus
  /** What is remembered of holes is not true any more. */
  forget(): void
}

/** One way to change a range, until it turns out not to work here. */
export class Attempt {
  #works = true

  /** Runs `change`; false when it is not supported, now or earlier. Other errors pass. */
  async run(change: () => Promise<void>): Promise<boolean> {
    if (!this.#works) return false
    try {
      await change()
      return true
    } catch (error) {
      if (!isUnsupported(error)) throw error
      this.#works = false
      return false
    }
  }
}

/** The answer of {@link Ranges} to what cannot be done; the core writes zeroes then, or drops the discard. */
export function unsupportedRange(operation: string, filename: string): BlockError {
  return new BlockError('ENOTSUP', `${operation} is not supported by the storage of '${filename}'`)
}
