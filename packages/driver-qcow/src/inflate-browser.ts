/** Raw deflate by the streams of browsers. */
import type { Inflate } from './compressed-clusters.ts'

/** See {@link Inflate}. */
export const inflateByStream: Inflate = async (data, size) => {
  const reader = new Response(Uint8Array.from(data))
    .body!.pipeThrough(new DecompressionStream('deflate-raw'))
    .getReader()
  const result = new Uint8Array(size)
  for (let filled = 0; filled < size; ) {
    const { done, value } = await reader.read()
    if (done) throw new RangeError(`${filled} bytes instead of ${size}`)
    const piece = value.subarray(0, size - filled)
    result.set(piece, filled)
    filled += piece.length
  }
  await reader.cancel()
  return result
}
