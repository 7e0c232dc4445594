/** Deflate by Node's zlib, on the thread pool. It is loaded when it is first needed. */
import type { ZlibCodec } from '../codec.ts'

type NodeZlib = typeof import('node:zlib')

let loaded: NodeZlib | undefined

async function load(): Promise<NodeZlib> {
  loaded ??= process.getBuiltinModule?.('node:zlib') ?? (await import('node:zlib'))
  return loaded
}

/** Deflate as zlib wraps it. */
export const zlib: ZlibCodec = {
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
