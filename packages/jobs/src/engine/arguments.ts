/** What a program without types may hand over, beyond what all packages check. All errors are EINVAL. */
import { BlockError, type Disk } from '@diskgraph/core'
import { due, kindOf, type Rules, rule } from '@diskgraph/core/internal'

export const aNode = rule(
  'a node of the graph',
  (value) => isObject(value) && isObject(value.image) && 'driver' in value,
)

/** The rules of what all calls take; see `WorkOptions`. */
export const workRules: Rules = {
  signal: due.signal,
  onProgress: due.callback,
  speed: rule('a number of bytes per second above 0', (value) => typeof value === 'number' && value > 0),
}

/** Refuses what is no open disk (ENOMEDIUM when it is closed). `what` says where it stands: `the overlay of commit`. */
export function checkDisk(what: string, value: unknown): asserts value is Disk {
  if (!isObject(value) || !isObject(value.edge) || !isObject(value.graph) || typeof value.read !== 'function') {
    throw new BlockError('EINVAL', `${what} is an open disk, not ${kindOf(value)}`)
  }
  const disk = value as unknown as Disk
  if (disk.closed) throw new BlockError('ENOMEDIUM', `${what}, '${disk.filename}', is closed`)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
