/**
 * Descriptors of this process: duplicates, and those that come through a unix socket (SCM_RIGHTS).
 *
 * `struct msghdr`, 64-bit: name, name length, iov, iov count, control, control length (8 bytes each), i32 flags.
 * `struct cmsghdr`: u64 length with the header of 16 bytes, i32 level, i32 type, then i32 descriptors.
 */
import { Errno, PosixError } from './errno.ts'
import type { Libc } from './libc.ts'

const F_DUPFD_CLOEXEC = 1030
const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_DONTWAIT = 0x40
const MSG_CMSG_CLOEXEC = 0x40000000
/** The kernel passes 253 descriptors at most at a time. */
const controlSize = 16 + 4 * 256

/** Bytes of a unix socket, and the descriptors that came with them, which are the caller's. */
export interface Received {
  /** 0: the other side sends nothing more. */
  readonly length: number
  readonly descriptors: readonly number[]
}

/** Calls on descriptors. They return at once. */
export interface Descriptors {
  /** Another descriptor of the same open file, with its offset, access mode and locks. The caller closes it. */
  duplicate(fd: number): number
  /** Receives what is there into `buf`; undefined when there is nothing yet. `ENOTSOCK` for what is no socket. */
  receive(fd: number, buf: Uint8Array): Received | undefined
}

/** {@link Descriptors} by `fcntl` and `recvmsg`. */
export function createDescriptors(libc: Libc): Descriptors {
  const memory = new Uint8Array(new ArrayBuffer(128 + controlSize))
  const view = new DataView(memory.buffer)
  const header = memory.subarray(0, 56)
  const start = libc.address(memory)
  const [iov, control] = [64, 128]

  function fill(buf: Uint8Array): void {
    memory.fill(0)
    view.setBigUint64(iov, libc.address(buf), true)
    view.setBigUint64(iov + 8, BigInt(buf.byteLength), true)
    view.setBigUint64(16, start + BigInt(iov), true)
    view.setBigUint64(24, 1n, true)
    view.setBigUint64(32, start + BigInt(control), true)
    view.setBigUint64(40, BigInt(controlSize), true)
  }

  function descriptors(): number[] {
    const found: number[] = []
    const end = control + Number(view.getBigUint64(40, true))
    for (let at = control; at + 16 <= end; ) {
      const length = Number(view.getBigUint64(at, true))
      if (length < 16) break
      const isRights = view.getInt32(at + 8, true) === SOL_SOCKET && view.getInt32(at + 12, true) === SCM_RIGHTS
      for (let i = at + 16; isRights && i + 4 <= at + length; i += 4) found.push(view.getInt32(i, true))
      at += Math.ceil(length / 8) * 8
    }
    return found
  }

  return {
    duplicate(fd) {
      const result = Number(libc.fcntlNumber(fd, F_DUPFD_CLOEXEC, 3))
      if (result < 0) throw new PosixError(libc.errno(), 'fcntl')
      return result
    },
    receive(fd, buf) {
      fill(buf)
      const length = Number(libc.recvmsg(fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC))
      if (length >= 0) return { length, descriptors: descriptors() }
      const errno = libc.errno()
      if (errno === Errno.EAGAIN || errno === Errno.EINTR) return undefined
      throw new PosixError(errno, 'recvmsg')
    },
  }
}
