/**
 * Extended L2 entries. A cluster has 32 subclusters, and its entry a bitmap with two bits for each of them:
 *
 *     │ host cluster, flags │ 31 … reads as zeroes … 0 │ 31 … is there … 0 │
 *       64 bits               32 bits                    32 bits
 *
 * A subcluster with neither bit shows the backing file, also where the cluster is there: then it has room already. Both
 * bits are damage, and so is "is there" without a host cluster. Compressed clusters have no subclusters.
 */
import { Kind, type Run } from '@diskgraph/clusters'
import { allSubclusters, ExtendedEntry, type Geometry, hiCompressed, hiCopied, offsetOf } from '../header/layout.ts'
import { isMisplaced, isPlaced, kindOf, markDamaged } from './entries.ts'

/**
 * Finds out how far the subclusters from an offset on are of one kind and contiguous. `run` comes with the length that
 * is asked for, and with the offset in the cluster of entry `index`, which begins at `guest`, as `host`.
 */
export function scanSubclusters(geometry: Geometry, view: DataView, index: number, guest: number, run: Run): void {
  const { clusterSize, l2EntrySize, zeroUnit, external } = geometry
  const { length, host: inCluster } = run
  const entries = view.byteLength / l2EntrySize
  let place = 0
  let covered = 0
  for (let i = index; i < entries && covered < length; i++) {
    const at = i * l2EntrySize
    const hi = view.getUint32(at)
    const lo = view.getUint32(at + 4)
    const from = i === index ? inCluster : 0
    const start = guest + (i - index) * clusterSize
    if ((hi & hiCompressed) !== 0 || isDamaged(geometry, view, at, start)) {
      if (i > index) break
      if ((hi & hiCompressed) === 0 || external) {
        markDamaged(run)
        return
      }
      run.kind = Kind.compressed
      run.copied = false
      run.length = Math.min(length, clusterSize - from)
      return
    }
    const placed = isPlaced(geometry, hi, lo)
    const host = offsetOf(hi, lo)
    const copied = placed && (hi & hiCopied) !== 0
    const first = Math.floor(from / zeroUnit)
    const kind = subclusterKind(view, at, first, placed)
    if (i === index) {
      run.kind = kind
      run.copied = copied
      run.host = host + from
      place = host
    } else if (kind !== run.kind || copied !== run.copied) break
    else if (placed && host !== place + (i - index) * clusterSize) break
    let end = first + 1
    while (end * zeroUnit < clusterSize && subclusterKind(view, at, end, placed) === kind) end++
    covered += end * zeroUnit - from
    if (end * zeroUnit < clusterSize) break
  }
  run.length = Math.min(length, covered)
}

function subclusterKind(view: DataView, at: number, index: number, placed: boolean): number {
  if (((view.getUint32(at + ExtendedEntry.allocated) >>> index) & 1) !== 0) return Kind.normal
  if (((view.getUint32(at + ExtendedEntry.zero) >>> index) & 1) === 0) return Kind.unallocated
  return placed ? Kind.zeroAllocated : Kind.zero
}

/** Whether an entry that is not compressed, of the cluster at `guest`, cannot be. */
export function isDamaged(geometry: Geometry, view: DataView, at: number, guest: number): boolean {
  const hi = view.getUint32(at)
  const lo = view.getUint32(at + 4)
  const allocated = view.getUint32(at + ExtendedEntry.allocated)
  if ((allocated & view.getUint32(at + ExtendedEntry.zero)) !== 0) return true
  if (kindOf(geometry, hi, lo) === Kind.unallocated) return allocated !== 0
  return isMisplaced(geometry, hi, offsetOf(hi, lo), guest)
}

/** A half of a bitmap with the bits of the subclusters from `first` to `end`, without `end`. */
function subclusterMask(first: number, end: number): number {
  if (end <= first) return 0
  return ((end === 32 ? allSubclusters : 2 ** end - 1) - (2 ** first - 1)) >>> 0
}

/** The subclusters of the cluster at `cluster` that a guest range touches, as a mask. */
export function touchedSubclusters(
  { clusterSize, zeroUnit }: Geometry,
  cluster: number,
  start: number,
  end: number,
): number {
  const from = Math.max(start, cluster) - cluster
  const to = Math.min(end, cluster + clusterSize) - cluster
  return to <= from ? 0 : subclusterMask(Math.floor(from / zeroUnit), Math.ceil(to / zeroUnit))
}

/** Index of the first subcluster whose data a new cluster must have, when those from `first` on are written. */
export function firstToCopy(geometry: Geometry, view: DataView, at: number, first: number): number {
  const hi = view.getUint32(at)
  if ((hi & hiCompressed) !== 0) return 0
  if (!isPlaced(geometry, hi, view.getUint32(at + 4))) return first
  const allocated = view.getUint32(at + ExtendedEntry.allocated)
  return Math.min(first, Math.clz32(allocated & -allocated) ^ 31)
}

/** The same of the end, where those up to `end` are written. */
export function endToCopy(geometry: Geometry, view: DataView, at: number, end: number): number {
  const hi = view.getUint32(at)
  if ((hi & hiCompressed) !== 0) return 32
  if (!isPlaced(geometry, hi, view.getUint32(at + 4))) return end
  return Math.max(end, 32 - Math.clz32(view.getUint32(at + ExtendedEntry.allocated)))
}

/** Sets both halves of a bitmap. */
export function setSubclusters(view: DataView, at: number, zero: number, allocated: number): void {
  view.setUint32(at + ExtendedEntry.zero, zero >>> 0)
  view.setUint32(at + ExtendedEntry.allocated, allocated >>> 0)
}
