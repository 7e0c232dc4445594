/**
 * Zstandard: a cluster is one frame. Where the platform has no codec, `@bokuweb/zstd-wasm` stands in.
 *
 * The length of compressed data is known in sectors only, and decoders fail on bytes behind a frame. So the frame is cut out first: its
 * header and the headers of its blocks tell where it ends. They tell how much memory it wants, too, which is
 * bounded here before a decoder sees it. (RFC 8878, sections 3.1.1.1 and 3.1.1.2.)
 *
 *     magic │ descriptor │ window │ dictionary │ content size │ block │ block … │ checksum
 *       4         1        0, 1      0 to 4        0 to 8       3 + n             0, 4      bytes
 */
import { BlockError } from '@diskgraph/core/driver'
import type { Codec } from '../codec.ts'

/** Frames as a whole, in memory. */
export interface ZstdLibrary {
  /** Decodes one frame into `size` bytes at most. */
  decompress(frame: Uint8Array, size: number): Uint8Array | Promise<Uint8Array>
  compress(data: Uint8Array): Uint8Array | Promise<Uint8Array>
}

const magic = 0xfd2fb528
/** The window that every decoder has to have room for, by section 3.1.1.1.2. */
const largestWindow = 8 * 1024 * 1024

/** A codec over `library`; without one, over WebAssembly. ENOTSUP where that is not installed. */
export async function zstdCodec(library?: ZstdLibrary): Promise<Codec> {
  const zstd = library ?? (await wasmLibrary())
  return {
    async inflate(data, size) {
      const output = await zstd.decompress(frameAt(data, size), size)
      if (output.byteLength !== size) throw damaged(`has ${output.byteLength} bytes instead of ${size}`)
      return output
    },

    async deflate(data, limit) {
      const output = await zstd.compress(data)
      return output.byteLength < limit ? output : undefined
    },
  }
}

let loading: Promise<ZstdLibrary> | undefined

function wasmLibrary(): Promise<ZstdLibrary> {
  loading ??= loadWasm().catch((error) => {
    loading = undefined
    throw new BlockError('ENOTSUP', 'the image uses zstd compression, which nothing here has', {
      cause: error,
      hint: "install '@bokuweb/zstd-wasm', or use Node 22.15 or newer",
    })
  })
  return loading
}

async function loadWasm(): Promise<ZstdLibrary> {
  // A bundler lets an import be that may fail.
  const zstd = await import('@bokuweb/zstd-wasm').catch((error) => {
    throw error
  })
  await zstd.init()
  return {
    decompress: (frame, size) => zstd.decompress(frame, { defaultHeapSize: size }),
    compress: (data) => zstd.compress(data),
  }
}

/** The frame at the start of `data`, which is to hold `size` bytes. Throws where there is none, or it wants too much memory. */
export function frameAt(data: Uint8Array, size: number): Uint8Array {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  if (data.byteLength < 5 || view.getUint32(0, true) !== magic) throw damaged('does not begin with a frame')
  const descriptor = view.getUint8(4)
  const single = (descriptor & 0x20) !== 0
  const dictionary = [0, 1, 2, 4][descriptor & 3] as number
  const sizeField = [single ? 1 : 0, 2, 4, 8][descriptor >>> 6] as number
  const sizeAt = 5 + (single ? 0 : 1) + dictionary
  let at = sizeAt + sizeField
  if (at > data.byteLength) throw damaged('ends in its header')
  if (!single && windowOf(view.getUint8(5)) > largestWindow) throw damaged('wants too large a window')
  const content = contentSize(view, sizeAt, sizeField)
  if (content !== undefined && content !== size) throw damaged(`has ${content} bytes instead of ${size}`)
  for (let last = false; !last; ) {
    if (at + 3 > data.byteLength) throw damaged('ends in a block')
    const header = view.getUint16(at, true) + view.getUint8(at + 2) * 65536
    last = (header & 1) !== 0
    const repeated = ((header >>> 1) & 3) === 1
    at += 3 + (repeated ? 1 : header >>> 3)
  }
  if ((descriptor & 4) !== 0) at += 4
  if (at > data.byteLength) throw damaged('ends in a block')
  return data.subarray(0, at)
}

/** Section 3.1.1.1.2. */
function windowOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >>> 3))
  return base + (base / 8) * (descriptor & 7)
}

/** Section 3.1.1.1.4. Undefined where the frame does not say. */
function contentSize(view: DataView, at: number, bytes: number): number | undefined {
  if (bytes === 0) return undefined
  if (bytes === 1) return view.getUint8(at)
  if (bytes === 2) return view.getUint16(at, true) + 256
  if (bytes === 4) return view.getUint32(at, true)
  return Number(view.getBigUint64(at, true))
}

function damaged(what: string): BlockError {
  return new BlockError('EIO', `a compressed cluster ${what}`)
}
