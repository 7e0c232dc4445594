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

/** The errno name of a system error, or undefined. */
export function systemCode(error: unknown): string | undefined {
  const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined
  return typeof code === 'string' ? code : undefined
}

/** A system error as a {@link BlockError} that says `attempt: reason` in the words of the C library. */
export function fileError(error: unknown, attempt: string): BlockError {
  if (isBlockError(error)) return error
  const other = otherWords[systemCode(error) ?? '']
  const code = errorCodeOf(error)
  const known = code !== 'EIO' || systemCode(error) === 'EIO'
  const words = other ?? (known || !(error instanceof Error) ? describeErrorCode(code) : error.message)
  return new BlockError(code, `${attempt}: ${words}`, { cause: error })
}

/** Whether a system call said that the file, its file system or the kernel cannot do what was asked. */
export function isUnsupported(error: unknown): boolean {
  const code = systemCode(error)
  return code === 'ENOTSUP' || code === 'EOPNOTSUPP' || code === 'ENOSYS' || code === 'ENODEV' || code === 'ENOTTY'
}
