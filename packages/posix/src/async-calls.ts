/**
 * Calls on the thread pool. koffi refuses more than 256 at a time, and the pool has four threads by default, so
 * calls above a limit wait here in order.
 */
import { Errno, PosixError } from './errno.ts'
import type { Libc } from './libc.ts'

const limit = 64
let running = 0
const waiting: (() => void)[] = []

/**
 * Starts a call and settles with its result; rejects with {@link PosixError} when that is negative. A call that a
 * signal interrupted is made again. `start` must keep alive, by closure, all memory that it passes.
 */
export function callAsync(
  libc: Libc,
  syscall: string,
  start: (done: (error: unknown, result: number | bigint) => void) => void,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const begin = () => {
      running++
      try {
        start(finish)
      } catch (error) {
        release()
        reject(error)
      }
    }
    const finish = (error: unknown, result: number | bigint) => {
      const errno = result < 0 ? libc.errno() : 0
      release()
      if (error) reject(error)
      else if (errno === 0) resolve(Number(result))
      else if (errno === Errno.EINTR) schedule(begin)
      else reject(new PosixError(errno, syscall))
    }
    schedule(begin)
  })
}

function schedule(begin: () => void): void {
  if (running < limit) begin()
  else waiting.push(begin)
}

function release(): void {
  running--
  const next = waiting.shift()
  if (next !== undefined) next()
}
