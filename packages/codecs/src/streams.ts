import { BlockError } from '@diskgraph/core/driver'
import { kindOf } from '@diskgraph/core/internal'
import { damaged } from './damage.ts'

/** All that `stream` gives. EIO, and the stream is let go, when it comes to more than `most` bytes. */
export async function atMost(stream: ReadableStream<Uint8Array>, most: number): Promise<Uint8Array> {
  if (!(stream instanceof ReadableStream)) {
    throw new BlockError('EINVAL', `the stream of atMost is a ReadableStream, not ${kindOf(stream)}`)
  }
  const pieces: Uint8Array[] = []
  let length = 0
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read()
    if (done) break
    pieces.push(value)
    length += value.length
    if (length <= most) continue
    await reader.cancel()
    throw damaged(`the data comes to more than ${most} bytes`)
  }
  const result = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    result.set(piece, at)
    at += piece.length
  }
  return result
}
