/** What the halves of an L2 entry say. */
import { Kind, type Run } from '@diskgraph/clusters'
import { type Geometry, hiCompressed, hiCopied, hiTooFar, loZero } from '../header/layout.ts'

/**
 * The kind of an L2 entry; of an extended one, what a cluster is in which all subclusters are there. In an external
 * data file a cluster may stand at offset 0.
 */
export function kindOf({ external, extended }: Geometry, hi: number, lo: number): number {
  if ((hi & hiCompressed) !== 0) return Kind.compressed
  const hasOffset = (hi & 0x00ffffff) !== 0 || lo >>> 9 !== 0
  if ((lo & loZero) !== 0 && !extended) return hasOffset ? Kind.zeroAllocated : Kind.zero
  return hasOffset || (external && (hi & hiCopied) !== 0) ? Kind.normal : Kind.unallocated
}

/** Whether an entry has a host cluster of its own. */
export function isPlaced(geometry: Geometry, hi: number, lo: number): boolean {
  const kind = kindOf(geometry, hi, lo)
  return kind === Kind.normal || kind === Kind.zeroAllocated
}

/** Whether a host cluster cannot be where the entry for guest offset `guest` says. */
export function isMisplaced({ clusterSize, external }: Geometry, hi: number, host: number, guest: number): boolean {
  if ((hi & hiTooFar) !== 0) return true
  return external ? host !== guest : Math.floor(host / clusterSize) * clusterSize !== host
}

/** Says that nothing can be said. */
export function markDamaged(run: Run): void {
  run.kind = Kind.damaged
  run.length = 0
}
