/** Raw deflate by pako, which is loaded when the first compressed cluster is met. */
import { BlockError } from '@diskgraph/core/driver'
import { compressedWindowBits } from '../header/layout.ts'
import type { Zlib } from './read.ts'

type Pako = typeof import('pako')

let loading: Promise<Pako> | undefined

async function load(): Promise<Pako> {
  loading ??= import('pako')
  try {
    return await loading
  } catch (error) {
    loading = undefined
    throw new BlockError('ENOTSUP', "compressed clusters need the package 'pako': npm install pako", { cause: error })
  }
}

/** See {@link Zlib}. */
export const browserZlib: Zlib = {
  async inflate(data, size) {
    const { Inflate } = await load()
    const output = new Uint8Array(size)
    let filled = 0
    const stream = new Inflate({ raw: true, windowBits: 15, chunkSize: size })
    stream.onData = (chunk: Uint8Array) => {
      if (filled + chunk.byteLength > size) throw new BlockError('EIO', `more than ${size} bytes`)
      output.set(chunk, filled)
      filled += chunk.byteLength
    }
    stream.push(data, true)
    if (filled !== size) throw new BlockError('EIO', `${filled} bytes instead of ${size}`)
    return output
  },

  async deflate(data, limit) {
    const { deflateRaw } = await load()
    const output = deflateRaw(data, { windowBits: compressedWindowBits, memLevel: 9 })
    return output.byteLength < limit ? output : undefined
  },
}
