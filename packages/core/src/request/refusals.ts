/** Why a request of a root is refused before it reaches a node. */
import { isByteCount, isBytes } from '../bytes.ts'
import { Flag } from '../contract/contract.ts'
import { BlockError } from '../errors.ts'
import { kindOf } from '../inspection.ts'
import { maxRequest } from './limits.ts'

const allFlags = Flag.Fua | Flag.MayUnmap | Flag.NoFallback | Flag.Compressed | Flag.Unchanged

/** Whether `flags` are {@link Flag} bits. */
export function areFlags(flags: number): boolean {
  return Number.isInteger(flags) && flags >= 0 && flags <= allFlags
}

/** Whoever asks: what its messages name, how long it is, and whether it has a medium. */
interface Requester {
  readonly size: number
  readonly node: { readonly isEmpty: boolean }
  describe(): string
}

/** The error of a request that is not one, or passes the end. `data` is a buffer or a length. */
export function requestRefusal(
  root: Requester,
  verb: string,
  offset: number,
  data: Uint8Array | number,
  flags: number,
): BlockError {
  const invalid = (reason: string): BlockError =>
    new BlockError('EINVAL', `cannot ${verb} ${root.describe()}: ${reason}`)
  const takesBuffer = verb === 'read' || verb === 'write'
  if (takesBuffer && !isBytes(data)) return invalid(`the buffer is not a Uint8Array, but ${kindOf(data)}`)
  const length = takesBuffer ? (data as Uint8Array).length : (data as number)
  if (!isByteCount(offset)) return invalid(`the offset ${String(offset)} is not a whole number of bytes`)
  if (!isByteCount(length)) return invalid(`the length ${String(length)} is not a whole number of bytes`)
  if (!areFlags(flags)) return invalid(`there are no such flags: ${String(flags)}`)
  const range = verb === 'flush' ? '' : `${length} bytes at ${offset} of `
  const attempt = `cannot ${verb} ${range}${root.describe()}`
  if (root.node.isEmpty) return new BlockError('ENOMEDIUM', `${attempt}: it has no medium`)
  if (length > maxRequest && offset + length <= root.size) {
    return new BlockError('EINVAL', `${attempt}: a request is at most ${maxRequest} bytes long`)
  }
  return new BlockError('EIO', `${attempt}: the disk ends at ${root.size}`)
}
