import { getSystemErrorMap } from 'node:util'

/** A system call failed. Has the fields of Node's own system errors, so that one handler serves both. */
export class PosixError extends Error {
  /** The errno name: `EAGAIN`, `ENOSPC`… `ENOTSUP` stands for EOPNOTSUPP too, as in Node. */
  readonly code: string
  /** The negated errno number, as in Node. */
  readonly errno: number
  readonly syscall: string

  constructor(errno: number, syscall: string) {
    const [code, text] = getSystemErrorMap().get(-errno) ?? [`E${errno}`, `error ${errno}`]
    super(`${code}: ${text}, ${syscall}`)
    this.name = 'PosixError'
    this.code = code
    this.errno = -errno
    this.syscall = syscall
  }
}

/** Linux errno numbers that are answers rather than failures. */
export const Errno = { ENXIO: 6, EINTR: 4, EAGAIN: 11, EACCES: 13 } as const
