import { isZeroRange } from './bytes.ts'

/** A part of a buffer, all of it zero or all of it to be kept. */
interface Run {
  readonly start: number
  readonly length: number
  readonly zero: boolean
}

/**
 * The runs of `buf`, judged by units of `unit` bytes that are aligned in a disk where the buffer stands at `offset`.
 * A unit counts as zero when all of it is. The first and last unit may be cut short by the buffer. With a unit of 0
 * everything is kept.
 */
export function zeroRuns(buf: Uint8Array, offset: number, unit: number): Run[] {
  if (unit === 0) return [{ start: 0, length: buf.length, zero: false }]
  const runs: Run[] = []
  let start = 0
  let zero: boolean | undefined
  for (let at = 0; at < buf.length; ) {
    const next = Math.min(buf.length, (Math.floor((offset + at) / unit) + 1) * unit - offset)
    const unitZero = isZeroRange(buf, at, next - at)
    if (zero !== undefined && unitZero !== zero) {
      runs.push({ start, length: at - start, zero })
      start = at
    }
    zero = unitZero
    at = next
  }
  if (zero !== undefined) runs.push({ start, length: buf.length - start, zero })
  return runs
}

/**
 * The unit in which zeroes are found in a target with clusters of `clusterSize` bytes, when runs of `sparseSize` are
 * wanted; 0: not at all. Clusters are compressed one by one.
 */
export function zeroUnitOf(sparseSize: number, clusterSize: number, compressed: boolean): number {
  if (sparseSize === 0) return 0
  return compressed ? clusterSize : Math.max(sparseSize, clusterSize)
}
