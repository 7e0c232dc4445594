import { BlockError, type ErrorCode, isBlockError } from '@diskgraph/core/driver'

const codes: Readonly<Record<string, ErrorCode>> = {
  NotFoundError: 'ENOENT',
  TypeMismatchError: 'EISDIR',
  NoModificationAllowedError: 'EAGAIN',
  QuotaExceededError: 'ENOSPC',
  NotAllowedError: 'EACCES',
  SecurityError: 'EACCES',
  NotReadableError: 'ESTALE',
}

const hints: Readonly<Record<string, string>> = {
  NoModificationAllowedError: 'another page, worker or node has the file open: it is for one at a time',
  QuotaExceededError: 'see navigator.storage.estimate(); navigator.storage.persist() may allow more',
}

/** The error of a file operation of the browser, by its name, which survives the way out of a worker. */
export function opfsError(attempt: string, cause: unknown): BlockError {
  if (isBlockError(cause)) return cause
  const { name = '', message = String(cause) } = Object(cause) as { name?: string; message?: string }
  const hint = hints[name]
  return new BlockError(codes[name] ?? 'EIO', `${attempt}: ${message}`, { cause, ...(hint !== undefined && { hint }) })
}
