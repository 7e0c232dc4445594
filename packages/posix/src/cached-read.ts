import { Errno, PosixError } from './errno.ts'
import type { Libc } from './libc.ts'

const RWF_NOWAIT = 8

/** Answer of {@link CachedRead.preadNowait}: reading would have to wait for the storage. */
export const notCached = -1

/** Reading what the page cache holds. */
export interface CachedRead {
  /**
   * Reads into `buf` without ever waiting: the number of bytes (fewer than asked for at the end of the file, or
   * where the cached part ends), or {@link notCached}. Throws `ENOTSUP` where the file system cannot tell.
   */
  preadNowait(fd: number, buf: Uint8Array, offset: number): number
}

/** {@link CachedRead} by `preadv2(RWF_NOWAIT)`. One `struct iovec` serves all calls, so that nothing is allocated. */
export function createCachedRead(libc: Libc): CachedRead {
  const iov = new BigUint64Array(new ArrayBuffer(128), 0, 2)
  const halves = new Uint32Array(iov.buffer, 0, 4)
  const { numbers, preadv2 } = libc
  return {
    preadNowait(fd, buf, offset) {
      iov[0] = libc.address(buf)
      halves[2] = buf.byteLength
      halves[3] = Math.floor(buf.byteLength / 2 ** 32)
      for (;;) {
        const read = Number(preadv2(numbers.preadv2, fd, iov, 1, offset, 0, RWF_NOWAIT))
        if (read >= 0) return read
        const errno = libc.errno()
        if (errno === Errno.EAGAIN) return notCached
        if (errno !== Errno.EINTR) throw new PosixError(errno, 'preadv2')
      }
    },
  }
}
