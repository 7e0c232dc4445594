/**
 * Entries of a refcount block at every width. Entries of less than a byte fill each byte from its least
 * significant bit; wider ones are big endian.
 *
 *     refcount_order  0     1     2     3    4     5     6
 *     bits            1     2     4     8    16    32    64
 */

/** A refcount block in memory. */
export interface RefcountBlock {
  readonly data: Uint8Array
  readonly view: DataView
}

/** The count at `index` of a block; imprecise above 2^53. */
export function refcountAt(block: RefcountBlock, order: number, index: number): number {
  switch (order) {
    case 4:
      return block.view.getUint16(index * 2)
    case 3:
      return block.data[index]!
    case 5:
      return block.view.getUint32(index * 4)
    case 6:
      return block.view.getUint32(index * 8) * 0x1_0000_0000 + block.view.getUint32(index * 8 + 4)
    default: {
      const bits = 1 << order
      const perByte = 8 / bits
      const shift = (index % perByte) * bits
      return (block.data[Math.floor(index / perByte)]! >>> shift) & ((1 << bits) - 1)
    }
  }
}

/** Sets the count at `index`; the caller has checked that it fits. */
export function setRefcountAt(block: RefcountBlock, order: number, index: number, count: number): void {
  switch (order) {
    case 4:
      block.view.setUint16(index * 2, count)
      break
    case 3:
      block.data[index] = count
      break
    case 5:
      block.view.setUint32(index * 4, count)
      break
    case 6:
      block.view.setUint32(index * 8, Math.floor(count / 0x1_0000_0000))
      block.view.setUint32(index * 8 + 4, count >>> 0)
      break
    default: {
      const bits = 1 << order
      const perByte = 8 / bits
      const shift = (index % perByte) * bits
      const at = Math.floor(index / perByte)
      block.data[at] = (block.data[at]! & ~(((1 << bits) - 1) << shift)) | (count << shift)
    }
  }
}

/** The index of the first entry at or after `from` and before `to` that is zero; `to` if there is none. */
export function firstFree(block: RefcountBlock, order: number, from: number, to: number): number {
  if (order === 4) {
    const counts = new Uint16Array(block.data.buffer, block.data.byteOffset + from * 2, to - from)
    const found = counts.indexOf(0)
    return found < 0 ? to : from + found
  }
  let index = from
  while (index < to && refcountAt(block, order, index) !== 0) index++
  return index
}

/** The index of the first entry at or after `from` and before `to` that is not zero; `to` if there is none. */
export function firstUsed(block: RefcountBlock, order: number, from: number, to: number): number {
  let index = from
  while (index < to && refcountAt(block, order, index) === 0) index++
  return index
}
