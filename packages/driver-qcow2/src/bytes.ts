/** Reading and writing the big-endian fields of the format as numbers, and text. */
import { BlockError, type ErrorCode } from '@diskgraph/core/driver'

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
const encoder = new TextEncoder()

/** A view over the bytes of `buf`. */
export function viewOf(buf: Uint8Array): DataView {
  return new DataView(buf.buffer, buf.byteOffset, buf.byteLength)
}

/** The 64-bit field at `position`; infinite above 2^53 - 1, so that every check of a bound refuses it. */
export function readU64(view: DataView, position: number): number {
  const value = view.getUint32(position) * 0x1_0000_0000 + view.getUint32(position + 4)
  return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY
}

/** The upper half of the 64-bit field that holds `n`. */
export function highHalf(n: number): number {
  return Math.floor(n / 0x1_0000_0000)
}

/** The lower half of the 64-bit field that holds `n`. */
export function lowHalf(n: number): number {
  return n >>> 0
}

/** Writes a safe integer as a 64-bit field. */
export function writeU64(view: DataView, position: number, value: number): void {
  view.setUint32(position, highHalf(value))
  view.setUint32(position + 4, lowHalf(value))
}

/** Text in UTF-8; bytes that are none become replacement characters. */
export function decodeText(buf: Uint8Array): string {
  return decoder.decode(buf)
}

/** Text from an image made harmless for a terminal: control characters become question marks. */
export function printable(text: string): string {
  let clean = ''
  for (const char of text) {
    const code = char.codePointAt(0)!
    clean += code < 0x20 || (code >= 0x7f && code < 0xa0) ? '?' : char
  }
  return clean
}

/** The bytes of `text` in UTF-8. */
export function encodeText(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Throws an error of this format. */
export function refuse(code: ErrorCode, message: string): never {
  throw new BlockError(code, message)
}

/** Hexadecimal as in QEMU's messages: `0x200`, and `0` for nothing. */
export function hex(n: number): string {
  return n === 0 ? '0' : `0x${n.toString(16)}`
}

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

/**
 * The big-endian 32-bit number in an element of a Uint32Array, and the other way round: for loops over whole tables,
 * where a DataView is slow until the loop has been compiled.
 */
export function bigEndianWord(word: number): number {
  if (!littleEndian) return word
  return ((word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff0000) | (word << 24)) >>> 0
}
