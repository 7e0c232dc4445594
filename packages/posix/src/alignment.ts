import { Errno, PosixError } from './errno.ts'
import type { Libc } from './libc.ts'

const AT_EMPTY_PATH = 0x1000
const STATX_DIOALIGN = 0x2000
/** Offsets in `struct statx`. */
const stxMask = 0
const stxDioMemAlign = 152
const stxDioOffsetAlign = 156

/** What requests that bypass the page cache must be aligned to, in bytes. */
export interface DirectAlignment {
  /** Of the address of the buffer. */
  readonly memory: number
  /** Of the offset in the file and of the length. */
  readonly offset: number
}

/** Alignment of memory and of direct requests. */
export interface Alignment {
  /** The alignment that O_DIRECT needs on this file; undefined when the kernel does not say or cannot do it. */
  directAlignment(fd: number): DirectAlignment | undefined
  /** Whether the first byte of `memory` lies at a multiple of `alignment` (up to 2^31). */
  isMemoryAligned(memory: Uint8Array, alignment: number): boolean
}

/** {@link Alignment} by `statx(STATX_DIOALIGN)`, which Linux answers from 6.1 on. */
export function createAlignment(libc: Libc): Alignment {
  const result = new Uint8Array(256)
  const view = new DataView(result.buffer)
  return {
    directAlignment(fd) {
      result.fill(0)
      while (Number(libc.statx(libc.numbers.statx, fd, '', AT_EMPTY_PATH, STATX_DIOALIGN, result)) < 0) {
        const errno = libc.errno()
        if (errno !== Errno.EINTR) throw new PosixError(errno, 'statx')
      }
      const memory = view.getUint32(stxDioMemAlign, true)
      const offset = view.getUint32(stxDioOffsetAlign, true)
      const answered = (view.getUint32(stxMask, true) & STATX_DIOALIGN) !== 0
      return answered && memory > 0 && offset > 0 ? { memory, offset } : undefined
    },
    isMemoryAligned: (memory, alignment) => libc.address(memory) % BigInt(alignment) === 0n,
  }
}
