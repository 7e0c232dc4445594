import { type ErrorCode, errorCodes } from '@diskgraph/core/driver'

/** The numbers that Linux has for the error codes. */
const numbers: Readonly<Record<ErrorCode, number>> = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  ENXIO: 6,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EMFILE: 24,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  ELOOP: 40,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ECONNRESET: 104,
  ESHUTDOWN: 108,
  ETIMEDOUT: 110,
  ESTALE: 116,
  EDQUOT: 122,
  ENOMEDIUM: 123,
  ECANCELED: 125,
}

const codes: ReadonlyMap<number, ErrorCode> = new Map(errorCodes.map((code) => [numbers[code], code]))

/** The code of an errno given by name or by its Linux number; `EIO` for a number without a code here. */
export function errorCodeOfErrno(errno: number | ErrorCode): ErrorCode {
  return typeof errno === 'number' ? (codes.get(errno) ?? 'EIO') : errno
}
