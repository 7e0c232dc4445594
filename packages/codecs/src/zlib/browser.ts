/** Deflate by the streams of browsers. */
import type { ZlibCodec } from '../codec.ts'

/** Deflate as zlib wraps it. */
export const zlib: ZlibCodec = {
  inflate: (data, size) => through(new DecompressionStream('deflate'), data, size),
  deflate: (data) => through(new CompressionStream('deflate'), data, Number.POSITIVE_INFINITY),
}

async function through(
  stream: CompressionStream | DecompressionStream,
  data: Uint8Array,
  most: number,
): Promise<Uint8Array> {
  const source = new Response(Uint8Array.from(data)).body!.pipeThrough(stream)
  const pieces: Uint8Array[] = []
  let length = 0
  for (const reader = source.getReader(); ; ) {
    const { done, value } = await reader.read()
    if (done) break
    pieces.push(value)
    length += value.length
    if (length <= most) continue
    await reader.cancel()
    throw new RangeError(`the data comes to more than ${most} bytes`)
  }
  const result = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    result.set(piece, at)
    at += piece.length
  }
  return result
}
