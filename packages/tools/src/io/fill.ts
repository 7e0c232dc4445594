/** Whether every byte of `buf` is `byte`. */
export function isFilledWith(buf: Uint8Array, byte: number): boolean {
  if (buf.length === 0) return true
  if (buf[0] !== byte) return false
  const view = Buffer.from(buf.buffer, buf.byteOffset, buf.byteLength)
  // Equal to itself shifted by one: all bytes are like the first.
  return view.compare(view, 1, buf.length, 0, buf.length - 1) === 0
}
