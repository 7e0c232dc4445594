/** Error numbers on the wire and errno codes. */
import type { ErrorCode } from '@diskgraph/core/driver'
import { WireError } from './protocol.ts'

const numbers: Partial<Readonly<Record<ErrorCode, number>>> = {
  EPERM: WireError.NBD_EPERM,
  EROFS: WireError.NBD_EPERM,
  EIO: WireError.NBD_EIO,
  ENOMEM: WireError.NBD_ENOMEM,
  ENOSPC: WireError.NBD_ENOSPC,
  EDQUOT: WireError.NBD_ENOSPC,
  EFBIG: WireError.NBD_ENOSPC,
  EOVERFLOW: WireError.NBD_EOVERFLOW,
  ENOTSUP: WireError.NBD_ENOTSUP,
  ESHUTDOWN: WireError.NBD_ESHUTDOWN,
  ENODEV: WireError.NBD_ESHUTDOWN,
}

/** The number that stands for `code`; EINVAL's for every code that the protocol has no number for. */
export function wireErrorOf(code: ErrorCode): number {
  return numbers[code] ?? WireError.NBD_EINVAL
}

/** The code that a number stands for; EINVAL for numbers that the protocol does not have. */
export function codeOfWireError(number: number): ErrorCode {
  switch (number) {
    case WireError.NBD_EPERM:
      return 'EPERM'
    case WireError.NBD_EIO:
      return 'EIO'
    case WireError.NBD_ENOMEM:
      return 'ENOMEM'
    case WireError.NBD_ENOSPC:
      return 'ENOSPC'
    case WireError.NBD_EOVERFLOW:
      return 'EOVERFLOW'
    case WireError.NBD_ENOTSUP:
      return 'ENOTSUP'
    case WireError.NBD_ESHUTDOWN:
      return 'ESHUTDOWN'
    default:
      return 'EINVAL'
  }
}
