/**
 * Locks of byte ranges that belong to the open file description (Linux "OFD" locks): they stay as long as the
 * description is open, in whichever process, and never stand against themselves. Process-wide POSIX locks are not
 * offered, because closing any other descriptor of the same file drops them.
 *
 * `struct flock`, 64-bit: i16 type, i16 whence, 4 bytes of padding, i64 start, i64 length, i32 pid (0), 4 of padding.
 */
import { Errno, PosixError } from './errno.ts'
import type { Libc } from './libc.ts'

const F_OFD_GETLK = 36
const F_OFD_SETLK = 37
const F_RDLCK = 0
const F_WRLCK = 1
const F_UNLCK = 2

/** Shared locks stand only against exclusive ones. */
export type LockKind = 'shared' | 'exclusive'

/** Byte-range locks on open file descriptions. All calls return at once. */
export interface Locks {
  /** Takes a lock; false when another description holds one that stands against it. */
  lockRange(fd: number, offset: number, length: number, kind: LockKind): boolean
  /** Gives a range back; the parts that are not locked do not matter. */
  unlockRange(fd: number, offset: number, length: number): void
  /** Whether {@link lockRange} would succeed. Takes nothing. */
  canLockRange(fd: number, offset: number, length: number, kind: LockKind): boolean
}

/** {@link Locks} by `fcntl`. Throws `EINVAL` where the kernel or the file system has no such locks. */
export function createLocks(libc: Libc): Locks {
  const memory = new Uint8Array(new ArrayBuffer(256), 0, 32)
  const flock = new DataView(memory.buffer, memory.byteOffset, memory.byteLength)

  function fill(type: number, offset: number, length: number): void {
    memory.fill(0)
    flock.setInt16(0, type, true)
    setOffset(flock, 8, offset)
    setOffset(flock, 16, length)
  }

  return {
    lockRange(fd, offset, length, kind) {
      fill(typeOf(kind), offset, length)
      for (;;) {
        if (Number(libc.fcntl(fd, F_OFD_SETLK, memory)) >= 0) return true
        const errno = libc.errno()
        if (errno === Errno.EAGAIN || errno === Errno.EACCES) return false
        if (errno !== Errno.EINTR) throw new PosixError(errno, 'fcntl')
      }
    },
    unlockRange(fd, offset, length) {
      fill(F_UNLCK, offset, length)
      if (Number(libc.fcntl(fd, F_OFD_SETLK, memory)) < 0) throw new PosixError(libc.errno(), 'fcntl')
    },
    canLockRange(fd, offset, length, kind) {
      fill(typeOf(kind), offset, length)
      if (Number(libc.fcntl(fd, F_OFD_GETLK, memory)) < 0) throw new PosixError(libc.errno(), 'fcntl')
      return flock.getInt16(0, true) === F_UNLCK
    },
  }
}

function typeOf(kind: LockKind): number {
  return kind === 'shared' ? F_RDLCK : F_WRLCK
}

function setOffset(view: DataView, at: number, offset: number): void {
  view.setUint32(at, offset % 2 ** 32, true)
  view.setUint32(at + 4, Math.floor(offset / 2 ** 32), true)
}
