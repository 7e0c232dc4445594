import { Graph } from '@diskgraph/core'
import { cow } from '@diskgraph/driver-cow'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

/** Of an image of 1 MiB: the header, a bit for each of 2048 sectors, and the next sector. */
const dataOffset = 1536
const size = 2 ** 20

/** An image by hand, as a program of `bits` bits writes it: the sectors 0, 9 and 40 are here. */
function image(bits: 32 | 64, name = ''): Uint8Array {
  const bytes = new Uint8Array(dataOffset + 41 * 512)
  const view = new DataView(bytes.buffer)
  bytes.set(new TextEncoder().encode('OOOM\0\0\0\x02'))
  bytes.set(new TextEncoder().encode(name), 8)
  view.setBigUint64(bits === 64 ? 1040 : 1036, BigInt(size))
  view.setUint32(bits === 64 ? 1048 : 1044, 512)
  const bitmap = bits === 64 ? 1056 : 1048
  for (const sector of [0, 9, 40]) {
    bytes[bitmap + Math.floor(sector / 8)]! |= 1 << (sector % 8)
    bytes.fill(sector + 1, dataOffset + sector * 512, dataOffset + (sector + 1) * 512)
  }
  return bytes
}

async function opened(bytes: Uint8Array, options: Record<string, unknown> = {}, settings = {}) {
  const files = new MemoryFiles()
  files.put('image').write(0, bytes)
  files.put('base').write(0, new Uint8Array(10 * 512).fill(0xb))
  const graph = new Graph({ drivers: [cow, files.driver], onWarning: () => undefined })
  const file = { driver: 'testkit-file', name: 'image' }
  const disk = await graph.addUnchecked({ driver: 'cow', file, ...options }, settings)
  return { disk, files, graph, reopened: () => graph.addUnchecked({ driver: 'cow', file, ...options }) }
}

const base = { backing: { driver: 'testkit-file', name: 'base' } }

async function sectors(disk: { read(offset: number, buf: Uint8Array): Promise<void> }, count: number) {
  const buf = new Uint8Array(count * 512)
  await disk.read(0, buf)
  return Array.from({ length: count }, (_, i) => buf[i * 512 + 100])
}

describe('cow', () => {
  it.each([32, 64] as const)(
    'reads what programs of %d bits wrote, and the backing file for the rest',
    async (bits) => {
      const { disk } = await opened(image(bits), base)
      expect(await sectors(disk, 12)).toEqual([1, 11, 11, 11, 11, 11, 11, 11, 11, 10, 0, 0])
      const buf = new Uint8Array(512)
      await disk.read(40 * 512, buf)
      expect(buf[0]).toBe(41)
    },
  )

  it('tells which sectors are here', async () => {
    const { disk } = await opened(image(64))
    const found: unknown[] = []
    for await (const { offset, length, data, zero } of disk.extents())
      found.push([offset / 512, length / 512, data, zero])
    expect(found).toEqual([
      [0, 1, true, false],
      [1, 8, false, true],
      [9, 1, true, false],
      [10, 30, false, true],
      [40, 1, true, false],
      [41, 2007, false, true],
    ])
  })

  it.each([32, 64] as const)('sets no other bits than those of what is written (%d bits)', async (bits) => {
    const { disk, files, reopened } = await opened(image(bits), base)
    await disk.write(31 * 512, new Uint8Array(34 * 512).fill(7))
    await disk.write(2047 * 512 + 100, new Uint8Array(5).fill(8))
    await disk.close()
    const bitmap = new Uint8Array(256)
    files.file('image').read(bits === 64 ? 1056 : 1048, bitmap)
    const set = Array.from({ length: 2048 }, (_, i) => i).filter((i) => (bitmap[i >> 3]! & (1 << (i & 7))) !== 0)
    expect(set).toEqual([0, 9, ...Array.from({ length: 34 }, (_, i) => 31 + i), 2047])
    expect(await sectors(await reopened(), 33)).toEqual([1, ...Array(8).fill(11), 10, ...Array(21).fill(0), 7, 7])
  })

  it('shows the name of its backing file, and keeps it', async () => {
    const { disk } = await opened(image(64, 'base.img'), { backing: null })
    expect(await disk.info()).toMatchObject({ backingFilename: 'base.img' })
  })

  it('gives an error for sectors that the file is too short for', async () => {
    const { disk } = await opened(image(64).subarray(0, dataOffset + 40 * 512))
    await expect(disk.read(40 * 512, new Uint8Array(512))).rejects.toThrow('the image is cut')
    expect(await sectors(disk, 2)).toEqual([1, 0])
  })
})

describe('a damaged header', () => {
  it.each([
    ['version', 4, 3n, 4, 'Unsupported cow version: 3'],
    ['size of sectors', 1048, 1024n, 4, 'the sectors of the image have not 512 bytes'],
    ['size', 1040, 2n ** 63n, 8, 'is larger than this driver has'],
    ['a size that the bitmap has not', 1040, 2n ** 32n, 8, 'the bitmap of the image ends behind the end of the file'],
  ] as const)('is refused: %s', async (_, offset, value, width, text) => {
    const bytes = image(64)
    const view = new DataView(bytes.buffer)
    if (width === 4) view.setUint32(offset, Number(value))
    else view.setBigUint64(offset, value)
    await expect(opened(bytes)).rejects.toThrow(text)
  })

  it('is refused where the name does not end', async () => {
    await expect(opened(image(64, 'x'.repeat(1024)))).rejects.toThrow('the name of the backing file does not end')
  })
})

describe('a new image', () => {
  it.each([
    [{ size: 2 ** 40 }, 'is larger than this driver has'],
    [{ size: 512, backingFile: 'x'.repeat(1024) }, 'Backing file name too long'],
  ])('is refused where the format has no room: %j', async (options, text) => {
    const files = new MemoryFiles()
    files.put('image')
    const graph = new Graph({ drivers: [cow, files.driver] })
    const file = { driver: 'testkit-file', name: 'image' }
    await expect(graph.createUnchecked({ driver: 'cow', file, ...options })).rejects.toThrow(text)
  })
})
