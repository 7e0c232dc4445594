/** Comparing bytes: as fast as memory where the runtime has `Buffer`, by words elsewhere. */

const { Buffer } = globalThis as { Buffer?: { compare(one: Uint8Array, other: Uint8Array): number } }

/** Whether two ranges of the same length hold the same bytes. */
export const areEqual: (one: Uint8Array, other: Uint8Array) => boolean =
  Buffer === undefined ? haveEqualWords : (one, other) => Buffer.compare(one, other) === 0

/** {@link areEqual} without help of the runtime. */
export function haveEqualWords(one: Uint8Array, other: Uint8Array): boolean {
  const { length } = one
  let at = 0
  if (length >= 4 && one.byteOffset % 4 === other.byteOffset % 4) {
    for (; (one.byteOffset + at) % 4 !== 0; at++) if (one[at] !== other[at]) return false
    const words = Math.floor((length - at) / 4)
    const left = new Int32Array(one.buffer, one.byteOffset + at, words)
    const right = new Int32Array(other.buffer, other.byteOffset + at, words)
    for (let i = 0; i < words; i++) if (left[i] !== right[i]) return false
    at += words * 4
  }
  for (; at < length; at++) if (one[at] !== other[at]) return false
  return true
}

/** The offset of the unit of `unit` bytes in which two ranges of the same length differ first. */
export function firstDifference(one: Uint8Array, other: Uint8Array, unit: number): number | undefined {
  if (areEqual(one, other)) return undefined
  let low = 0
  let high = one.length
  while (high - low > unit) {
    const middle = low + Math.ceil((high - low) / 2 / unit) * unit
    if (areEqual(one.subarray(low, middle), other.subarray(low, middle))) low = middle
    else high = middle
  }
  return low
}

const zeroes = new Uint8Array(2 ** 16)

/** Whether `length` bytes of `buf` from `start` on are zero. */
export function isZeroRange(buf: Uint8Array, start: number, length: number): boolean {
  // Data that is not zero mostly shows it at once, without a call.
  if (length > 0 && (buf[start] !== 0 || buf[start + length - 1] !== 0)) return false
  const end = start + length
  for (let at = start; at < end; ) {
    const piece = Math.min(zeroes.length, end - at)
    if (!areEqual(buf.subarray(at, at + piece), zeroes.subarray(0, piece))) return false
    at += piece
  }
  return true
}
