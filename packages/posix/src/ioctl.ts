import { Errno, PosixError } from './errno.ts'
import type { Libc } from './libc.ts'

/** Calls `ioctl` until no signal interrupts it; what it answers is in `argument`. */
export function ioctl(libc: Libc, fd: number, request: number, argument: Uint8Array): void {
  while (Number(libc.ioctl(fd, request, argument)) < 0) {
    const errno = libc.errno()
    if (errno !== Errno.EINTR) throw new PosixError(errno, 'ioctl')
  }
}
