import { callAsync } from './async-calls.ts'
import { Errno, PosixError } from './errno.ts'
import type { Libc } from './libc.ts'

/** Requests of `linux/cdrom.h` and `linux/fd.h`. */
const CDROMEJECT = 0x5309
const CDROMCLOSETRAY = 0x5319
const CDROM_DRIVE_STATUS = 0x5326
const CDROM_LOCKDOOR = 0x5329
const FDEJECT = 0x025a
const CDSL_CURRENT = 0x7fffffff
const CDS_NO_DISC = 1
const CDS_TRAY_OPEN = 2

/** Orders to drives whose media can be taken out. `ENOTTY` or `EINVAL` from what is no such drive. */
export interface Drives {
  /** What a drive for compact discs holds; `unknown` where it cannot tell, or the disc is not ready yet. */
  discStatus(fd: number): 'none' | 'open' | 'unknown'
  /** Opens the tray of a drive for compact discs, or closes it, on the thread pool. */
  moveTray(fd: number, open: boolean): Promise<void>
  /** Keeps the tray from being opened by its button, or no more. */
  lockTray(fd: number, locked: boolean): void
  /** Throws a floppy disk out, on the thread pool. */
  ejectFloppy(fd: number): Promise<void>
}

/** {@link Drives} by `ioctl`. */
export function createDrives(libc: Libc): Drives {
  function order(fd: number, request: number, argument: number): number {
    for (;;) {
      const result = Number(libc.ioctlNumber(fd, request, argument))
      if (result >= 0) return result
      const errno = libc.errno()
      if (errno !== Errno.EINTR) throw new PosixError(errno, 'ioctl')
    }
  }

  async function orderSlowly(fd: number, request: number): Promise<void> {
    await callAsync(libc, 'ioctl', (done) => libc.ioctlNumber.async(fd, request, 0, done))
  }

  return {
    discStatus(fd) {
      const status = order(fd, CDROM_DRIVE_STATUS, CDSL_CURRENT)
      return status === CDS_NO_DISC ? 'none' : status === CDS_TRAY_OPEN ? 'open' : 'unknown'
    },
    moveTray: (fd, open) => orderSlowly(fd, open ? CDROMEJECT : CDROMCLOSETRAY),
    lockTray: (fd, locked) => void order(fd, CDROM_LOCKDOOR, locked ? 1 : 0),
    ejectFloppy: (fd) => orderSlowly(fd, FDEJECT),
  }
}
