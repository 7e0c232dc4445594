import { Graph } from '@diskgraph/core'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { vmdk } from '@diskgraph/driver-vmdk'
import { describe, expect, it } from 'vitest'

const file = { driver: 'testkit-file', name: 'image' }
const grain = 65536
/** Header, descriptor of 20 sectors, then a directory of one sector for one table, twice. */
const secondTable = 22 * 512
const root = 26 * 512
const table = 27 * 512

/** An image with the grains 3 and 5 written, changed at `offset`. */
async function damaged(offset: number, value: bigint, width: number, subformat = 'monolithicSparse') {
  const files = new MemoryFiles()
  const graph = new Graph({ drivers: [vmdk, files.driver], onWarning: () => undefined })
  await graph.createUnchecked({ driver: 'vmdk', size: 2 ** 20, subformat, file })
  const disk = await graph.addUnchecked({ driver: 'vmdk', file })
  for (const one of [3, 5]) await disk.write(one * grain, new Uint8Array(grain).fill(one))
  await disk.close()
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, true)
  files.file('image').write(offset, bytes.subarray(0, width))
  return { files, open: (more = {}) => graph.addUnchecked({ driver: 'vmdk', file, ...more }) }
}

/** A descriptor file. */
function described(text: string) {
  const files = new MemoryFiles()
  files.put('image')
  files.file('image').write(0, new TextEncoder().encode(text))
  const graph = new Graph({ drivers: [vmdk, files.driver], references: 'allow', onWarning: () => undefined })
  return graph.addUnchecked({ driver: 'vmdk', file, readOnly: true })
}

const begin = '# Disk DescriptorFile\nversion=1\nCID=12345678\ncreateType="monolithicFlat"\n'

describe('a damaged header', () => {
  it.each([
    ['magic', 0, 0n, 4, 'Image not in VMDK format'],
    ['version', 4, 4n, 4, 'Unsupported VMDK version 4'],
    ['capacity', 12, 2n ** 63n, 8, 'L1 size too big'],
    ['granularity', 20, 2n ** 64n - 1n, 8, 'Invalid granularity, image may be corrupt'],
    ['granularity 0', 20, 0n, 8, 'Invalid granularity, image may be corrupt'],
    ['granularity, no power of two', 20, 127n, 8, 'Invalid granularity, image may be corrupt'],
    ['descriptor', 28, 2n ** 63n, 8, 'the descriptor of the image is said to stand beyond all files'],
    ['no descriptor', 28, 0n, 8, 'the file is an extent without a descriptor'],
    ['table size', 44, 0xffffffffn, 4, 'L2 table size too big'],
    ['table size 0', 44, 0n, 4, 'tables of the image have no entries'],
    ['overhead', 64, 2n ** 40n, 8, 'File truncated, expecting at least 562949953421312 bytes'],
    ['line ends', 73, 0x0a0a200an, 4, 'it was transferred as a text'],
    ['directory at the end, and no footer', 56, 2n ** 64n - 1n, 8, 'Invalid footer'],
  ] as const)('is refused: %s', async (_, offset, value, width, text) => {
    const { open } = await damaged(offset, value, width)
    await expect(open({ readOnly: true })).rejects.toThrow(text)
  })
})

describe('a damaged table', () => {
  it.each([
    ['an entry behind the file', table + 3 * 4, 0xfffffff0n],
    ['a table behind the file', root, 0xffffffffn],
  ])('is found, and never read or written through: %s', async (_, offset, value) => {
    const { open } = await damaged(offset, value, 4)
    const disk = await open()
    await expect(disk.read(3 * grain, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    await expect(disk.write(3 * grain, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    expect((await disk.check()).corruptions).toBeGreaterThan(0)
  })

  it('is written twice, the same', async () => {
    const { files } = await damaged(0, 0x564d444bn, 4)
    const [first, second] = [new Uint8Array(2048), new Uint8Array(2048)]
    files.file('image').read(table, first)
    files.file('image').read(secondTable, second)
    expect(first.some((byte) => byte !== 0)).toBe(true)
    expect(second).toEqual(first)
  })

  it('is made, both times, where a directory has none', async () => {
    const { files, open } = await damaged(root, 0n, 4)
    files.file('image').write(21 * 512, new Uint8Array(4))
    const disk = await open()
    await disk.write(7 * grain, new Uint8Array(512).fill(7))
    await disk.close()
    const entries = [21 * 512, root].map((at) => {
      const bytes = new Uint8Array(4)
      files.file('image').read(at, bytes)
      return new DataView(bytes.buffer).getUint32(0, true)
    })
    const [first, second] = entries.map((sector) => {
      const bytes = new Uint8Array(2048)
      files.file('image').read(sector * 512, bytes)
      return bytes
    })
    expect(entries[0]).not.toBe(entries[1])
    expect(first).toEqual(second)
    const buf = new Uint8Array(1)
    await using again = await open()
    await again.read(7 * grain, buf)
    expect([...buf]).toEqual([7])
  })
})

describe('a damaged compressed grain', () => {
  /** The grains of the image stand behind each other, from sector 128 on. */
  const first = 128 * 512

  it.each([
    ['another place on the disk', 0, 4n, 8],
    ['no length', 8, 0n, 4],
    ['a length without end', 8, 0xffffffffn, 4],
    ['a length behind the file', 8, 100_000n, 4],
    ['data that is none', 16, 2n ** 64n - 1n, 8],
  ])('is an error: %s', async (_, at, value, width) => {
    const { open } = await damaged(first + at, value, width, 'streamOptimized')
    const disk = await open()
    await expect(disk.read(3 * grain, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    const buf = new Uint8Array(1)
    await disk.read(5 * grain, buf)
    expect([...buf]).toEqual([5])
  })
})

describe('a damaged descriptor', () => {
  it.each([
    ['no CID', begin.replace('CID=12345678', ''), 'the descriptor has no CID'],
    ['a CID that is none', begin.replace('12345678', 'x'), 'the descriptor has a CID that is no number'],
    ['a type', begin.replace('monolithicFlat', 'x'), "Unsupported image type 'x'"],
    ['an encoding', `${begin}encoding="x-none"\n`, "the descriptor has the encoding 'x-none', which is unknown"],
    ['no extents', begin, 'the descriptor names no extents'],
    ['an offset of VMFS', `${begin}RW 10 VMFS "image" 1\n`, 'Invalid extent line: RW 10 VMFS "image" 1'],
    ['a name without an end', `${begin}RW 10 FLAT "image 0\n`, 'Invalid extent line: RW 10 FLAT "image 0'],
    ['no length', `${begin}RW 0 FLAT "image" 0\n`, 'Invalid extent line'],
    ['a length above 2^53', `${begin}RW 9999999999999999 FLAT "image" 0\n`, 'Invalid extent line'],
    ['a negative offset', `${begin}RW 1 FLAT "image" -1\n`, 'Invalid extent line'],
    ['a kind of extent', `${begin}RW 1 VMFSRDM "image"\n`, "Unsupported extent type 'VMFSRDM'"],
    ['too many extents', begin + 'RW 1 FLAT "image" 0\n'.repeat(5000), 'an image of 5000 extents is not supported'],
  ])('is refused: %s', async (_, text, message) => {
    await expect(described(text)).rejects.toThrow(message)
  })

  it('is read in linear time, and up to 1 MiB', async () => {
    const start = performance.now()
    await expect(described(`${begin}RW 1 FLAT ${'"'.repeat(3 * 2 ** 20)}`)).rejects.toThrow('Invalid extent line')
    await expect(described(`${begin}${' '.repeat(3 * 2 ** 20)}`)).rejects.toThrow('the descriptor names no extents')
    await expect(described(begin + 'a=b\n'.repeat(2 ** 20))).rejects.toThrow('the descriptor names no extents')
    expect(performance.now() - start).toBeLessThan(5000)
  })
})

it('checks an image whose capacity was raised to 2 TiB soon, and lets itself be stopped', async () => {
  // What stands behind the directory is taken for entries of it: most tables are damaged, each counts once.
  const { open } = await damaged(12, 0xffffffffn, 4)
  const disk = await open({ readOnly: true })
  const controller = new AbortController()
  let told = 0
  const onFinding = (): void => {
    told++
    if (told === 10) setTimeout(() => controller.abort(), 0)
  }
  const check = await disk.check({ onFinding, signal: controller.signal }).catch((error) => error)
  expect(told).toBeLessThan(200_000)
  expect(check).toMatchObject({ code: 'ECANCELED' })
})
