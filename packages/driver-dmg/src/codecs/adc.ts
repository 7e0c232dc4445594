/**
 * Apple Data Compression: bytes, and copies of what stands not far before. Source: images of macOS, and the description
 * of the format at the Wikipedia article of Apple Disk Image.
 *
 *     1lllllll                       l + 1 bytes follow as they are
 *     01llllll dddddddd dddddddd     l + 4 bytes from d + 1 bytes before
 *     00lllldd dddddddd              l + 3 bytes from d + 1 bytes before
 */
import { damaged, type Inflater } from '@diskgraph/codecs'

/** See the top of this file. */
export const adc: Inflater = {
  async inflate(data, size) {
    const output = new Uint8Array(size)
    let end = 0
    for (let at = 0; at < data.length && end < size; ) {
      const code = data[at] as number
      const width = code >= 0x80 ? 1 : code >= 0x40 ? 3 : 2
      const length = code >= 0x80 ? code - 0x7f : code >= 0x40 ? code - 0x3c : (code >> 2) + 3
      const next = at + width + (width === 1 ? length : 0)
      if (next > data.length) throw damaged(`the data ends within a piece of ${length} bytes`)
      if (end + length > size) throw damaged(`the data comes to more than ${size} bytes`)
      if (width === 1) output.set(data.subarray(at + 1, next), end)
      else {
        const low = data[at + 1] as number
        const distance = 1 + (width === 3 ? low * 256 + (data[at + 2] as number) : (code & 3) * 256 + low)
        copyBack(output, end, length, distance)
      }
      at = next
      end += length
    }
    return output.subarray(0, end)
  },
}

/** Copies `length` bytes that stand `distance` before `end`; they may overlap, and then repeat. */
function copyBack(output: Uint8Array, end: number, length: number, distance: number): void {
  if (distance > end) throw damaged(`a copy from ${distance} bytes before the ${end}th`)
  for (let i = end; i < end + length; i++) output[i] = output[i - distance] as number
}
