/**
 * Small writes into the page cache, made at once instead of on the thread pool, whose threads cost more to wake than the
 * write itself. The page cache takes a write without waiting for the storage, but for rare moments: too much of it is not
 * written yet, or the file system is frozen. Then everything else in this process waits, too. So a program has to ask for
 * this, one that does nothing but to serve a disk; it is done within a file, where the file system can read without
 * waiting (those over a network or in another process cannot), and after a write that took long the thread pool has the
 * next ones.
 */
import fs from 'node:fs'
import { systemClock } from '@diskgraph/core/driver'

/** Longer writes are left to the thread pool, which copies on another core. */
const longest = 65_536
/** Milliseconds of a write that had to wait for storage, not only for a processor that others keep busy. */
const slow = 40
/** Milliseconds that the thread pool has all writes after that. */
const pause = 1000

let isAllowed = false

/** Lets files that this process opens from now on make small writes at once: see the top of `prompt-writes.ts`. */
export function allowPromptWrites(): void {
  isAllowed = true
}

/** Writes at once to one file, while that is fast. */
export class PromptWriter {
  #pausedUntil = 0

  /** Undefined in a process that has not asked for it. */
  static ifAllowed(): PromptWriter | undefined {
    return isAllowed ? new PromptWriter() : undefined
  }

  /** Writes all of `buf`; false: that is left to the thread pool, though a part may be written. */
  write(fd: number, buf: Uint8Array, offset: number): boolean {
    if (buf.byteLength > longest) return false
    const begin = systemClock.now()
    if (begin < this.#pausedUntil) return false
    try {
      return fs.writeSync(fd, buf, 0, buf.byteLength, offset) === buf.byteLength
    } catch {
      // The thread pool meets the error again, and tells it.
      return false
    } finally {
      const end = systemClock.now()
      if (end - begin > slow) this.#pausedUntil = end + pause
    }
  }
}
