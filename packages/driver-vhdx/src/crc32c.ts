/** CRC-32C: the polynomial 0x1edc6f41, bits reversed (RFC 3720, appendix B.4). */

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  return value
})

/** The checksum of `bytes`, of which the four at `zeroed` count as zeroes: there the checksum stands. */
export function crc32c(bytes: Uint8Array, zeroed = Number.POSITIVE_INFINITY): number {
  let crc = 0xffffffff
  for (let i = 0; i < bytes.length; i++) {
    const byte = i >= zeroed && i < zeroed + 4 ? 0 : (bytes[i] as number)
    crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] as number)
  }
  return (crc ^ 0xffffffff) >>> 0
}
