/** Index of the first byte in which two buffers of one length differ; -1 if they are equal. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number {
  const { length } = a
  let i = 0
  if (a.byteOffset % 4 === b.byteOffset % 4) {
    const head = Math.min(length, (4 - (a.byteOffset % 4)) % 4)
    for (; i < head; i++) if (a[i] !== b[i]) return i
    i += 4 * equalWords(a, b, i, Math.floor((length - i) / 4))
  }
  for (; i < length; i++) if (a[i] !== b[i]) return i
  return -1
}

/** How many of `count` words from byte `start` on are equal before the first that differs. */
function equalWords(a: Uint8Array, b: Uint8Array, start: number, count: number): number {
  if (count <= 0) return 0
  const left = new Int32Array(a.buffer, a.byteOffset + start, count)
  const right = new Int32Array(b.buffer, b.byteOffset + start, count)
  for (let w = 0; w < count; w++) if (left[w] !== right[w]) return w
  return count
}

/** A buffer of `length` bytes that is aligned as `buf` is, so that the two compare by words. */
export function twinOf(buf: Uint8Array): Uint8Array {
  const shift = buf.byteOffset % 4
  return new Uint8Array(new ArrayBuffer(shift + buf.length), shift)
}
