import { callAsync } from './async-calls.ts'
import type { Libc } from './libc.ts'

/** Copying between files inside the kernel. */
export interface Copy {
  /**
   * Copies on the thread pool and gives the number of bytes, which may be fewer than asked for, and is 0 at the end
   * of the source. Rejects with `EXDEV`, `EINVAL` or `ENOTSUP` where the two files cannot be copied this way. Ranges
   * of one file must not overlap.
   */
  copyFileRange(from: number, fromOffset: number, to: number, toOffset: number, length: number): Promise<number>
}

/** {@link Copy} by `copy_file_range`. */
export function createCopy(libc: Libc): Copy {
  const { copyFileRange, numbers } = libc
  return {
    copyFileRange(from, fromOffset, to, toOffset, length) {
      // The kernel advances both offsets, also when it is interrupted half way: then it has returned a short count.
      const source = new BigInt64Array([BigInt(fromOffset), 0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n])
      const target = new BigInt64Array([BigInt(toOffset), 0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n])
      return callAsync(libc, 'copy_file_range', (done) => {
        copyFileRange.async(numbers.copyFileRange, from, source, to, target, length, 0, (error, result) => {
          source[0] = target[0] = 0n // Holds the two arrays until the call has ended.
          done(error, result)
        })
      })
    },
  }
}
