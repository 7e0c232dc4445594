import { BlockError } from '@diskgraph/core/driver'

/** The error of a stream that cannot be what it is said to be, or comes to more than it may. */
export function damaged(what: string): BlockError {
  return new BlockError('EIO', `the compressed data is damaged: ${what}`)
}
