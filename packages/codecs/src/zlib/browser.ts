/** Deflate by the streams of browsers. */
import type { ZlibCodec } from '../codec.ts'
import { atMost } from '../streams.ts'

/** Deflate as zlib wraps it. */
export const zlib: ZlibCodec = {
  inflate: (data, size) => through(new DecompressionStream('deflate'), data, size),
  deflate: (data) => through(new CompressionStream('deflate'), data, Number.POSITIVE_INFINITY),
}

function through(stream: CompressionStream | DecompressionStream, data: Uint8Array, most: number): Promise<Uint8Array> {
  return atMost(new Response(Uint8Array.from(data)).body!.pipeThrough(stream), most)
}
