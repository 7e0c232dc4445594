/** Deflate by Node's zlib, on the thread pool. It is loaded when the first compressed grain is met. */
import type { ZlibCodec } from './compressed-grains.ts'

type NodeZlib = typeof import('node:zlib')

let loaded: NodeZlib | undefined

async function load(): Promise<NodeZlib> {
  loaded ??= process.getBuiltinModule?.('node:zlib') ?? (await import('node:zlib'))
  return loaded
}

/** See {@link ZlibCodec}. */
export const nodeZlib: ZlibCodec = {
  async inflate(data, size) {
    const { inflate } = await load()
    return new Promise((resolve, reject) => {
      inflate(data, { maxOutputLength: size, chunkSize: Math.max(64, size) }, (error, output) => {
        if (error !== null) reject(error)
        else resolve(output)
      })
    })
  },

  async deflate(data) {
    const { deflate } = await load()
    return new Promise((resolve, reject) => {
      deflate(data, (error, output) => {
        if (error !== null) reject(error)
        else resolve(output)
      })
    })
  },
}
