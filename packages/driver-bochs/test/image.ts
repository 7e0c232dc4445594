/** Images as bximage writes them. */

export const extentSize = 4096

/** An image of 64 KiB with some sectors of its extents 2 and 5, and what it reads as. */
export function bochsImage(version = 0x20000): { readonly bytes: Uint8Array; readonly content: Uint8Array } {
  const entries = 16
  const places = new Map([
    [5, 0],
    [2, 1],
  ])
  const written = [0, 1, 3, 7]
  const bytes = new Uint8Array(512 + entries * 4 + places.size * (512 + extentSize))
  const content = new Uint8Array(entries * extentSize)
  const view = new DataView(bytes.buffer)
  const put = (offset: number, text: string): void => bytes.set(new TextEncoder().encode(text), offset)
  put(0, 'Bochs Virtual HD Image')
  put(32, 'Redolog')
  put(48, 'Growing')
  for (const [offset, value] of [
    [64, version],
    [68, 512],
    [72, entries],
    [76, 1],
    [80, extentSize],
  ] as const) {
    view.setUint32(offset, value, true)
  }
  view.setBigUint64(version === 0x10000 ? 84 : 88, BigInt(content.length), true)
  for (let i = 0; i < entries; i++) view.setUint32(512 + i * 4, places.get(i) ?? 0xffffffff, true)
  for (const [extent, place] of places) {
    const start = 512 + entries * 4 + place * (512 + extentSize)
    for (const sector of written) {
      const data = new Uint8Array(512).fill(extent * 16 + sector + 1)
      bytes[start]! |= 1 << sector
      bytes.set(data, start + 512 + sector * 512)
      content.set(data, extent * extentSize + sector * 512)
    }
    // Sectors that the bitmap lacks hold remains, which nobody may see.
    bytes.fill(0xee, start + 512 + 2 * 512, start + 512 + 3 * 512)
  }
  return { bytes, content }
}
