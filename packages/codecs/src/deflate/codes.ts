/**
 * Codes of raw deflate (RFC 1951, section 3.2). A code is as long as its alphabet says for the symbol; codes of one
 * length follow each other. They stand in the stream with their first bit first, so here each is kept reversed.
 */

/** The window that is written with: 4 KiB. Readers of qcow2 may have no larger one. */
export const windowBits = 12

/** Code lengths of the literals, lengths and the end of a block with fixed codes (section 3.2.6). */
export const fixedLengths = new Uint8Array(288).fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280)
/** Code lengths of the distances there. */
export const fixedDistances = new Uint8Array(30).fill(5)
/** The symbol that ends a block; those above it are lengths of matches. */
export const endOfBlock = 256

/** The shortest match of each length symbol from 257 on, and how many further bits say how much longer it is. */
export const matchLengths = steps(29, 3, 4)
matchLengths[28] = { base: 258, bits: 0 }
/** The same for distances. */
export const matchDistances = steps(30, 1, 2)

/** Codes of the symbols of an alphabet, by the lengths that it gives them. */
export function codesOf(lengths: Uint8Array): Uint16Array {
  const next = new Uint16Array(17)
  for (const length of lengths) if (length > 0) next[length + 1]!++
  for (let length = 1; length < 16; length++) next[length + 1] = (next[length]! + next[length + 1]!) * 2
  return Uint16Array.from(lengths, (length) => (length === 0 ? 0 : reversed(next[length]!++, length)))
}

/** The bits of each byte in the opposite order. */
const reversedBytes = Uint8Array.from({ length: 256 }, (_, byte) => {
  let result = 0
  for (let bit = 0; bit < 8; bit++) result |= ((byte >> bit) & 1) << (7 - bit)
  return result
})

/** The lowest `length` bits of `code`, 15 at most, in the opposite order. */
export function reversed(code: number, length: number): number {
  return ((reversedBytes[code & 255]! << 8) | reversedBytes[code >> 8]!) >> (16 - length)
}

/** `count` symbols from `base` on: twice `each` of one value, then `each` of every number of further bits. */
function steps(count: number, base: number, each: number): { base: number; bits: number }[] {
  const result = []
  let next = base
  for (let i = 0; i < count; i++) {
    const bits = Math.max(0, Math.floor(i / each) - 1)
    result.push({ base: next, bits })
    next += 2 ** bits
  }
  return result
}
