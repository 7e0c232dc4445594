import { PosixError } from './errno.ts'
import { ioctl } from './ioctl.ts'
import type { Libc } from './libc.ts'

const POSIX_FADV_DONTNEED = 4
const FS_IOC_GETFLAGS = 0x80086601
const FS_IOC_SETFLAGS = 0x40086602
const FS_NOCOW_FL = 0x00800000
const FS_IOC_FSGETXATTR = 0x801c581f
const FS_IOC_FSSETXATTR = 0x401c5820
const FS_XFLAG_EXTSIZE = 0x0800

/** What a file system may be told about a file. */
export interface FileHints {
  /** Drops the clean pages of a file from the page cache. */
  dropCache(fd: number): void
  /** Turns copy-on-write off for a file that is still empty (btrfs). `ENOTSUP` elsewhere. */
  disableCopyOnWrite(fd: number): void
  /** Sets the unit in which space is allocated, in bytes, while the file is still empty (XFS). `ENOTSUP` elsewhere. */
  setExtentSize(fd: number, size: number): void
}

/** {@link FileHints} by `posix_fadvise` and the inode flags. */
export function createFileHints(libc: Libc): FileHints {
  const memory = new Uint8Array(new ArrayBuffer(128), 0, 32)
  const view = new DataView(memory.buffer, 0, 32)

  return {
    dropCache(fd) {
      const errno = Number(libc.posixFadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
      if (errno !== 0) throw new PosixError(errno, 'posix_fadvise')
    },
    disableCopyOnWrite(fd) {
      memory.fill(0)
      ioctl(libc, fd, FS_IOC_GETFLAGS, memory)
      view.setUint32(0, (view.getUint32(0, true) | FS_NOCOW_FL) >>> 0, true)
      ioctl(libc, fd, FS_IOC_SETFLAGS, memory)
    },
    setExtentSize(fd, size) {
      // struct fsxattr: u32 xflags, u32 extent size, then fields that are set back as they were read.
      memory.fill(0)
      ioctl(libc, fd, FS_IOC_FSGETXATTR, memory)
      view.setUint32(0, (view.getUint32(0, true) | FS_XFLAG_EXTSIZE) >>> 0, true)
      view.setUint32(4, size, true)
      ioctl(libc, fd, FS_IOC_FSSETXATTR, memory)
    },
  }
}
