import { getSystemErrorName } from 'node:util'
import { BlockError, describeErrorCode, errorCodeOf, isBlockError } from '@diskgraph/core/driver'

/** The words of the C library for codes that {@link BlockError} does not carry. */
const otherWords: { readonly [code: string]: string | undefined } = {
  EBADF: 'Bad file descriptor',
  EINTR: 'Interrupted system call',
  ENAMETOOLONG: 'File name too long',
  ENOLCK: 'No locks available',
  ETXTBSY: 'Text file busy',
  EXDEV: 'Invalid cross-device link',
}

/**
 * The errno name of a system error, or undefined. Bun refuses sizes from 2^52 on itself, in words of its own; some of
 * Deno's errors have their number in the message only.
 */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { code, message } = error as { code?: unknown; message?: unknown }
  if (code === 'ERR_OUT_OF_RANGE') return 'EFBIG'
  if (typeof code === 'string') return code
  const [, errno] = /\(os error (\d+)\)$/.exec(String(message)) ?? []
  return errno === undefined ? undefined : getSystemErrorName(-errno)
}

/** A system error as a {@link BlockError} that says `attempt: reason` in the words of the C library. */
export function fileError(error: unknown, attempt: string): BlockError {
  if (isBlockError(error)) return error
  const name = systemCode(error)
  const other = otherWords[name ?? '']
  const code = errorCodeOf({ code: name })
  const known = code !== 'EIO' || name === 'EIO'
  const words = other ?? (known || !(error instanceof Error) ? describeErrorCode(code) : error.message)
  return new BlockError(code, `${attempt}: ${words}`, { cause: error })
}

/** Whether a system call said that the file, its file system or the kernel cannot do what was asked. */
export function isUnsupported(error: unknown): boolean {
  const code = systemCode(error)
  return code === 'ENOTSUP' || code === 'EOPNOTSUPP' || code === 'ENOSYS' || code === 'ENODEV' || code === 'ENOTTY'
}
