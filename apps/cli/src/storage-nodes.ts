/**
 * Whether two images share a file. Files are told apart by what they are, whatever their names: image locks would tell
 * as well, but not everywhere, and not where they are not wanted.
 */
import { statSync } from 'node:fs'
import { BlockError, type Disk, type Graph } from '@diskgraph/core'
import { protocolOf } from '@diskgraph/core/internal'
import { storageNodes } from '@diskgraph/jobs'

/**
 * Throws EBUSY, worded as QEMU words the conflict of locks, when a file that `disk` writes to is open in its graph as
 * part of another image.
 */
export function refuseSharedStorage(graph: Graph, disk: Disk, lock = '"write" lock'): void {
  const own = new Set(storageNodes(disk.node))
  const identities = new Set([...own].map(({ image }) => image.identity))
  identities.delete(undefined)
  for (const node of graph.nodes) {
    if (!own.has(node) && identities.has(node.image.identity)) throw conflict(node.filename, lock)
  }
}

/** Throws EBUSY when the file called `filename` is open in `graph`. */
export function refuseOpenFile(graph: Graph, filename: string): void {
  const identity = identityOfFile(filename)
  if (identity === undefined) return
  for (const { image } of graph.nodes) if (image.identity === identity) throw conflict(filename, '"write" lock')
}

/** Whether two names, neither of them a `json:` name, lead to one file that is there. */
export function isSameFile(one: string, other: string): boolean {
  const identity = identityOfFile(one)
  return identity !== undefined && identity === identityOfFile(other)
}

/** The identity that the file called `filename` has as a node; undefined where there is none, or it is no plain name. */
function identityOfFile(filename: string): string | undefined {
  const path = filename.replace(/^file:/, '')
  if (path === filename && protocolOf(path) !== undefined) return undefined
  try {
    const stats = statSync(path, { bigint: true })
    return stats.isBlockDevice() ? `device:${stats.rdev}` : `${stats.dev}:${stats.ino}`
  } catch {
    // Whoever opens it tells why it cannot be looked at.
    return undefined
  }
}

function conflict(filename: string, lock: string): BlockError {
  return new BlockError('EBUSY', `Failed to get ${lock}`, { hint: `Is another process using the image [${filename}]?` })
}
