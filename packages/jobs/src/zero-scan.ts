/** Finding zeroes in data, as fast as memory can be compared. */

/** Zeroes to compare with. */
const zeroes = Buffer.alloc(2 ** 16)

/** Whether `length` bytes of `buf` from `start` on are zero. */
export function isZeroRange(buf: Buffer, start: number, length: number): boolean {
  // Data that is not zero mostly shows it at once, without a call.
  if (length > 0 && (buf[start] !== 0 || buf[start + length - 1] !== 0)) return false
  const end = start + length
  for (let at = start; at < end; ) {
    const piece = Math.min(zeroes.length, end - at)
    if (zeroes.compare(buf, at, at + piece, 0, piece) !== 0) return false
    at += piece
  }
  return true
}

/** A part of a buffer, all of it zero or all of it to be kept. */
export interface Run {
  readonly start: number
  readonly length: number
  readonly zero: boolean
}

/**
 * The runs of `buf`, judged by units of `unit` bytes that are aligned in a disk where the buffer stands at `offset`.
 * A unit counts as zero when all of it is. The first and last unit may be cut short by the buffer.
 */
export function findRuns(buf: Buffer, offset: number, unit: number): Run[] {
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
