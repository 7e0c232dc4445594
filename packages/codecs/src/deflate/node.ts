/** Raw deflate by Node's zlib, on the thread pool. It is loaded when it is first needed. */
import { BlockError } from '@diskgraph/core/driver'
import type { Codec } from '../codec.ts'
import { windowBits } from './codes.ts'

type NodeZlib = typeof import('node:zlib')

let loaded: NodeZlib | undefined

async function load(): Promise<NodeZlib> {
  loaded = process.getBuiltinModule?.('node:zlib') ?? (await import('node:zlib'))
  return loaded
}

/** Raw deflate: read with any window, written with one of 4 KiB, which all readers have. */
export const rawDeflate: Codec = {
  async inflate(data, size) {
    const { constants, inflateRaw } = loaded ?? (await load())
    const options = { windowBits: 15, finishFlush: constants.Z_SYNC_FLUSH }
    return new Promise((resolve, reject) => {
      inflateRaw(data, { ...options, maxOutputLength: size, chunkSize: Math.max(64, size) }, (error, output) => {
        if (error !== null) reject(error)
        else if (output.byteLength !== size)
          reject(new BlockError('EIO', `${output.byteLength} bytes instead of ${size}`))
        else resolve(output)
      })
    })
  },

  inflateHere(data, size) {
    if (loaded === undefined) return undefined
    const options = { windowBits: 15, finishFlush: loaded.constants.Z_SYNC_FLUSH, maxOutputLength: size }
    const output = loaded.inflateRawSync(data, { ...options, chunkSize: Math.max(64, size) })
    if (output.byteLength !== size) throw new BlockError('EIO', `${output.byteLength} bytes instead of ${size}`)
    return output
  },

  async deflate(data, limit) {
    const { deflateRaw } = loaded ?? (await load())
    return new Promise((resolve, reject) => {
      const options = { windowBits, memLevel: 9, chunkSize: Math.max(64, data.byteLength) }
      deflateRaw(data, options, (error, output) => {
        if (error !== null) reject(error)
        else resolve(output.byteLength < limit ? output : undefined)
      })
    })
  },
}
