/** Node's Zstandard, on the thread pool. */
import type * as Zlib from 'node:zlib'
import type { ZstdLibrary } from './zstd.ts'

/** What newer versions have on top of the oldest that is supported. */
interface NewerZlib {
  readonly zstdCompress?: typeof Zlib.gzip
  readonly zstdDecompress?: typeof Zlib.gzip
}

/** Node's own, where it has one. */
export async function platformZstd(): Promise<ZstdLibrary | undefined> {
  const { zstdCompress, zstdDecompress } = (await import('node:zlib')) as NewerZlib
  if (zstdCompress === undefined || zstdDecompress === undefined) return undefined
  return {
    decompress: (frame, size) => called(zstdDecompress, frame, { maxOutputLength: size }),
    compress: (data) => called(zstdCompress, data, {}),
  }
}

function called(work: typeof Zlib.gzip, data: Uint8Array, options: Zlib.ZlibOptions): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    work(data, options, (error, output) => {
      if (error !== null) reject(error)
      else resolve(output)
    })
  })
}
