/** Raw deflate by Node's zlib, on the thread pool. It is loaded when the first compressed cluster is met. */
import type { Inflate } from './compressed-clusters.ts'

/** See {@link Inflate}. */
export const inflateByNode: Inflate = async (data, size) => {
  const { constants, inflateRaw } = await import('node:zlib')
  const options = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: size, chunkSize: Math.max(64, size) }
  return new Promise((resolve, reject) => {
    inflateRaw(data, options, (error, output) => {
      if (error !== null) reject(error)
      else if (output.length !== size) reject(new RangeError(`${output.length} bytes instead of ${size}`))
      else resolve(output)
    })
  })
}
