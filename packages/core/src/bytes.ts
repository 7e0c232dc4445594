/**
 * Arithmetic on offsets and lengths. Offsets are safe integers up to 2^53 - 1, so the bit operators, which
 * truncate to 32 bits, and the slow `%` on large numbers never meet them: these functions do.
 */

/** The largest offset that can be represented: 2^53 - 1. */
export const maxOffset = Number.MAX_SAFE_INTEGER

/** `n` modulo `divisor` for non-negative safe integers. */
export function mod(n: number, divisor: number): number {
  return n - Math.floor(n / divisor) * divisor
}

/** The quotient of `n` and `divisor`, rounded towards zero. */
export function div(n: number, divisor: number): number {
  return Math.floor(n / divisor)
}

/** The quotient of `n` and `divisor`, rounded up. */
export function divUp(n: number, divisor: number): number {
  return Math.ceil(n / divisor)
}

/** The greatest multiple of `alignment` that is not above `n`. */
export function alignDown(n: number, alignment: number): number {
  return Math.floor(n / alignment) * alignment
}

/** The smallest multiple of `alignment` that is not below `n`. */
export function alignUp(n: number, alignment: number): number {
  return Math.ceil(n / alignment) * alignment
}

/** Whether `n` is a multiple of `alignment`. */
export function isAligned(n: number, alignment: number): boolean {
  return Math.floor(n / alignment) * alignment === n
}

/** Whether `n` is a power of two. */
export function isPowerOfTwo(n: number): boolean {
  return n >= 1 && Number.isSafeInteger(n) && 2 ** Math.round(Math.log2(n)) === n
}

/** Whether `value` is an offset or a length: a safe integer that is not negative. */
export function isByteCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** Whether `value` is a view of bytes; cheap, for it stands before every request. */
export function isBytes(value: unknown): value is Uint8Array {
  return ArrayBuffer.isView(value) && (value as Uint8Array).BYTES_PER_ELEMENT === 1
}

/** Whether every byte of `buf` is zero. */
export function isZero(buf: Uint8Array): boolean {
  const { byteLength } = buf
  let i = 0
  const head = Math.min(byteLength, (8 - (buf.byteOffset % 8)) % 8)
  for (; i < head; i++) if (buf[i] !== 0) return false
  const words = Math.floor((byteLength - i) / 8)
  if (words > 0) {
    if (buf[i] !== 0) return false
    const doubles = new Float64Array(buf.buffer, buf.byteOffset + i, words)
    // -0 compares equal to 0, so the sign bytes are looked at through the words that remain equal.
    for (let w = 0; w < words; w++) if (doubles[w] !== 0) return false
    const signs = new Int32Array(buf.buffer, buf.byteOffset + i, words * 2)
    for (let w = 1; w < signs.length; w += 2) if (signs[w] !== 0) return false
    i += words * 8
  }
  for (; i < byteLength; i++) if (buf[i] !== 0) return false
  return true
}
