import { callAsync } from './async-calls.ts'
import { Errno, PosixError } from './errno.ts'
import type { Libc } from './libc.ts'

const SEEK_DATA = 3
const SEEK_HOLE = 4

/** What `fallocate` does with a range. */
export const Fallocate = {
  /** Allocates; the file grows if the range passes its end. */
  Allocate: 0,
  /** Allocates without changing the size. */
  KeepSize: 1,
  /** Deallocates; the range reads as zeroes, the size stays. */
  PunchHole: 3,
  /** Makes the range zeroes, allocated but unwritten; the file grows if the range passes its end. */
  ZeroRange: 16,
  /** Makes the range zeroes without changing the size. */
  ZeroRangeKeepSize: 17,
} as const

/** Allocation of file ranges. */
export interface Holes {
  /** The first offset at or behind `offset` that holds data; -1 when there is none before the end of the file. */
  seekData(fd: number, offset: number): number
  /** The first offset at or behind `offset` that is in a hole (the end of the file is one); -1 when behind the end. */
  seekHole(fd: number, offset: number): number
  /** Changes the allocation of a range on the thread pool. `mode` is one of {@link Fallocate}. */
  fallocate(fd: number, mode: number, offset: number, length: number): Promise<void>
  /** The same at once, for short ranges. */
  fallocateSync(fd: number, mode: number, offset: number, length: number): void
}

/**
 * {@link Holes} by `lseek` and `fallocate`. The seeks move the position of the descriptor, which positional reads
 * and writes do not use.
 */
export function createHoles(libc: Libc): Holes {
  function seek(fd: number, offset: number, whence: number): number {
    const found = Number(libc.lseek(fd, offset, whence))
    if (found >= 0) return found
    const errno = libc.errno()
    if (errno === Errno.ENXIO) return -1
    throw new PosixError(errno, 'lseek')
  }

  return {
    seekData: (fd, offset) => seek(fd, offset, SEEK_DATA),
    seekHole: (fd, offset) => seek(fd, offset, SEEK_HOLE),
    async fallocate(fd, mode, offset, length) {
      await callAsync(libc, 'fallocate', (done) => libc.fallocate.async(fd, mode, offset, length, done))
    },
    fallocateSync(fd, mode, offset, length) {
      while (Number(libc.fallocate(fd, mode, offset, length)) < 0) {
        const errno = libc.errno()
        if (errno !== Errno.EINTR) throw new PosixError(errno, 'fallocate')
      }
    },
  }
}
