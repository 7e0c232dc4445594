import { onAbort } from './aborts.ts'

/** The errno names that {@link BlockError} carries. `docs/errors.md` says what each one means here. */
export type ErrorCode =
  | 'EACCES'
  | 'EAGAIN'
  | 'EBUSY'
  | 'ECANCELED'
  | 'ECONNRESET'
  | 'EDQUOT'
  | 'EEXIST'
  | 'EFBIG'
  | 'EINVAL'
  | 'EIO'
  | 'EISDIR'
  | 'ELOOP'
  | 'EMFILE'
  | 'ENODEV'
  | 'ENOENT'
  | 'ENOMEDIUM'
  | 'ENOMEM'
  | 'ENOSPC'
  | 'ENOTDIR'
  | 'ENOTSUP'
  | 'ENXIO'
  | 'EOVERFLOW'
  | 'EPERM'
  | 'EROFS'
  | 'ESHUTDOWN'
  | 'ESTALE'
  | 'ETIMEDOUT'

const brand = Symbol.for('diskgraph.BlockError')

/** What may accompany a {@link BlockError}: its cause, a hint for the person who reads it, the node it came from. */
export interface BlockErrorOptions {
  readonly cause?: unknown
  /** What to do next, shown on a line of its own by the tools. */
  readonly hint?: string
  readonly node?: string
}

/**
 * The one error of the block layer: an errno code to branch on and a message to read.
 * Recognise it with {@link isBlockError}, not `instanceof`: npm may install two copies of this package.
 */
export class BlockError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined
  /** Name of the innermost node that reported the error; set once, by the first edge that the error crosses. */
  node: string | undefined

  constructor(code: ErrorCode, message: string, options: BlockErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'BlockError'
    this.code = code
    this.hint = options.hint
    this.node = options.node
    Object.defineProperty(this, brand, { value: true })
  }
}

/** Whether `error` is a {@link BlockError}, from this copy of the package or another. */
export function isBlockError(error: unknown): error is BlockError {
  return typeof error === 'object' && error !== null && brand in error
}

const descriptions: Readonly<Record<ErrorCode, string>> = {
  EACCES: 'Permission denied',
  EAGAIN: 'Resource temporarily unavailable',
  EBUSY: 'Device or resource busy',
  ECANCELED: 'Operation canceled',
  ECONNRESET: 'Connection reset by peer',
  EDQUOT: 'Disk quota exceeded',
  EEXIST: 'File exists',
  EFBIG: 'File too large',
  EINVAL: 'Invalid argument',
  EIO: 'Input/output error',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  EMFILE: 'Too many open files',
  ENODEV: 'No such device',
  ENOENT: 'No such file or directory',
  ENOMEDIUM: 'No medium found',
  ENOMEM: 'Cannot allocate memory',
  ENOSPC: 'No space left on device',
  ENOTDIR: 'Not a directory',
  ENOTSUP: 'Operation not supported',
  ENXIO: 'No such device or address',
  EOVERFLOW: 'Value too large for defined data type',
  EPERM: 'Operation not permitted',
  EROFS: 'Read-only file system',
  ESHUTDOWN: 'Cannot send after transport endpoint shutdown',
  ESTALE: 'Stale file handle',
  ETIMEDOUT: 'Connection timed out',
}

/** All codes, in alphabetical order. */
export const errorCodes: readonly ErrorCode[] = Object.keys(descriptions) as ErrorCode[]

/** The words that the C library has for `code`, e.g. `No space left on device`. */
export function describeErrorCode(code: ErrorCode): string {
  return descriptions[code]
}

/** The {@link ErrorCode} of a system error or a {@link BlockError}; `EIO` for anything else. */
export function errorCodeOf(error: unknown): ErrorCode {
  const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined
  if (typeof code !== 'string') return 'EIO'
  if (code === 'EOPNOTSUPP' || code === 'ENOSYS') return 'ENOTSUP'
  return Object.hasOwn(descriptions, code) ? (code as ErrorCode) : 'EIO'
}

/** The error as a {@link BlockError}: itself if it is one, else wrapped with its code and kept as the cause. */
export function toBlockError(error: unknown, attempt?: string): BlockError {
  if (isBlockError(error)) return error
  const code = errorCodeOf(error)
  const reason = error instanceof Error ? error.message : String(error)
  return new BlockError(code, attempt === undefined ? reason : `${attempt}: ${describeErrorCode(code)}`, {
    cause: error,
  })
}

/** Throws the error of an aborted operation when `signal` is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal)
}

/** The error of an operation that `signal` ended. */
export function abortedError(signal: AbortSignal): BlockError {
  return new BlockError('ECANCELED', 'the operation was aborted', { cause: signal.reason })
}

/**
 * Waits for `work`, which cannot be stopped or is others' too; rejects with ECANCELED as soon as `signal` is aborted, and calls
 * `leave` then. What `work` rejects with later is nobody's.
 */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined, leave?: () => void): Promise<T> {
  if (signal === undefined) return work
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      reject(abortedError(signal))
      leave?.()
    }
    if (signal.aborted) abort()
    else {
      const ended = onAbort(signal, abort)
      work.then(ended, ended)
    }
    work.then(resolve, reject)
  })
}
