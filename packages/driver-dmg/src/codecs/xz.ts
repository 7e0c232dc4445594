/**
 * xz: LZMA2 with a header and sums, decoded by `xz-decompress`, which is WebAssembly. What the header wants of memory is
 * bounded before it gets there. Source: "The .xz File Format" 1.1.0, sections 2.1.1 and 3.1.
 */

import { atMost, damaged, type Inflater } from '@diskgraph/codecs'
import { BlockError, isBlockError } from '@diskgraph/core/driver'

const signature = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] as const
const streamHeader = 12
/** Flags of a block header: how many filters more than one, and whether sizes stand in front of them. */
const BlockFlags = { filters: 0x03, sizes: [0x40, 0x80] } as const
const lzma2 = 0x21
/** What decoders have to have room for; larger ones gain nothing for data that is cut into pieces. */
const largestDictionary = 2 ** 26

/** A decoder. ENOTSUP where `xz-decompress` is not installed. */
export async function xzInflater(): Promise<Inflater> {
  // A bundler lets an import be that may fail.
  const library = await import('xz-decompress').catch((cause: unknown) => {
    throw new BlockError('ENOTSUP', 'the image uses LZMA compression, which nothing here has', {
      cause,
      hint: "install 'xz-decompress'",
    })
  })
  const { XzReadableStream } = exportsOf(library)
  return {
    async inflate(data, size) {
      checkHeader(data)
      const source = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(data)
          controller.close()
        },
      })
      try {
        return await atMost(new XzReadableStream(source), size)
      } catch (error) {
        throw isBlockError(error) ? error : damaged((error as Error).message)
      }
    },
  }
}

type Library = Pick<typeof import('xz-decompress'), 'XzReadableStream'>

/** Node shows what a CommonJS module exports as its default, bundlers by its names. */
function exportsOf(library: Library | { readonly default: Library }): Library {
  return 'default' in library ? library.default : library
}

function checkHeader(data: Uint8Array): void {
  if (signature.some((byte, i) => data[i] !== byte)) throw damaged('no stream of xz')
  const flags = data[streamHeader + 1] as number
  if ((flags & BlockFlags.filters) !== 0) throw damaged('a block of several filters, which are not read')
  let at = streamHeader + 2
  for (const size of BlockFlags.sizes) {
    if ((flags & size) === 0) continue
    while ((data[at] ?? 0) >= 0x80) at++
    at++
  }
  if (data[at] !== lzma2) throw damaged('a block of another filter than LZMA2')
  const bits = data[at + 2] ?? 0
  const dictionary = (2 | (bits & 1)) * 2 ** (Math.floor(bits / 2) + 11)
  if (dictionary > largestDictionary) throw damaged(`a dictionary of ${dictionary} bytes`)
}
