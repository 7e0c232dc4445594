/** Raw deflate by Node's zlib, on the thread pool. */
import { constants, deflateRaw, inflateRaw } from 'node:zlib'
import { compressedWindowBits } from './layout.ts'
import type { Zlib } from './zlib.ts'

const inflateOptions = { windowBits: 15, finishFlush: constants.Z_SYNC_FLUSH }
const deflateOptions = { windowBits: compressedWindowBits }

/** See {@link Zlib}. */
export const nodeZlib: Zlib = {
  inflate(data, size) {
    return new Promise((resolve, reject) => {
      inflateRaw(data, { ...inflateOptions, maxOutputLength: size, chunkSize: Math.max(64, size) }, (error, output) => {
        if (error !== null) reject(error)
        else if (output.byteLength !== size) reject(new Error(`${output.byteLength} bytes instead of ${size}`))
        else resolve(output)
      })
    })
  },

  deflate(data, limit) {
    return new Promise((resolve, reject) => {
      const options = { ...deflateOptions, chunkSize: Math.max(64, data.byteLength) }
      deflateRaw(data, options, (error, output) => {
        if (error !== null) reject(error)
        else resolve(output.byteLength < limit ? output : undefined)
      })
    })
  },
}
