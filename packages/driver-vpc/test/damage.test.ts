import { Graph } from '@diskgraph/core'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { vpc } from '@diskgraph/driver-vpc'
import { describe, expect, it } from 'vitest'
import { coveringGeometry, sectorsOf } from '../src/layout.ts'

const file = { driver: 'testkit-file', name: 'image' }

async function image(options: object = {}) {
  const files = new MemoryFiles()
  files.put('image')
  await using graph = new Graph({ drivers: [vpc, files.driver] })
  await graph.createUnchecked({ driver: 'vpc', size: 10 * 2 ** 20, ...options, file })
  const disk = await graph.addUnchecked({ driver: 'vpc', file })
  await disk.write(3 * 2 ** 20, new Uint8Array(4096).fill(1))
  await disk.close()
  return files
}

async function open(files: MemoryFiles, more: object = {}) {
  const graph = new Graph({ drivers: [vpc, files.driver] })
  return graph.addUnchecked({ driver: 'vpc', file, ...more })
}

/** Changes a field, and the checksum that covers it. */
function change(files: MemoryFiles, base: number, length: number, sum: number, field: number, bytes: number[]): void {
  const structure = new Uint8Array(length)
  files.file('image').read(base, structure)
  structure.set(bytes, field)
  structure.set([0, 0, 0, 0], sum)
  new DataView(structure.buffer).setUint32(sum, ~structure.reduce((a, b) => a + b, 0) >>> 0)
  files.file('image').write(base, structure)
}

const footer = (files: MemoryFiles, field: number, bytes: number[]): void => change(files, 0, 512, 64, field, bytes)
const header = (files: MemoryFiles, field: number, bytes: number[]): void => change(files, 512, 1024, 36, field, bytes)

describe('a damaged image', () => {
  it.each([
    ['no cookie', (files: MemoryFiles) => footer(files, 0, [0]), 'invalid VPC image'],
    ['no place for the header', (files: MemoryFiles) => footer(files, 16, [9]), 'Invalid header magic'],
    [
      'a differencing image without a name below',
      (files: MemoryFiles) => footer(files, 60, [0, 0, 0, 4]),
      'the name of the image below is damaged',
    ],
    ['another header', (files: MemoryFiles) => header(files, 0, [9]), 'Invalid header magic'],
    ['no blocks', (files: MemoryFiles) => header(files, 32, [0, 0, 0, 0]), 'Invalid block size 0'],
    ['odd blocks', (files: MemoryFiles) => header(files, 32, [0, 0x30, 0, 0]), 'Invalid block size 3145728'],
    [
      'many entries',
      (files: MemoryFiles) => header(files, 28, [0x40, 0, 0, 1]),
      'Max Table Entries too large (1073741825)',
    ],
    ['few entries', (files: MemoryFiles) => header(files, 28, [0, 0, 0, 4]), 'Page table too small'],
    [
      'more entries than the file',
      (files: MemoryFiles) => header(files, 28, [5, 0, 0, 0]),
      'points after the end of file',
    ],
    ['a table far away', (files: MemoryFiles) => header(files, 16, [0x40]), 'points after the end of file'],
    [
      'a block far away',
      (files: MemoryFiles) => files.file('image').write(1536, Uint8Array.of(1)),
      'after the end of file',
    ],
    [
      'a checksum',
      (files: MemoryFiles) => files.file('image').write(64, Uint8Array.of(1)),
      'Incorrect header checksum',
    ],
  ])("is refused with QEMU's words: %s", async (_, damage, text) => {
    const files = await image()
    damage(files)
    await expect(open(files)).rejects.toThrow(text)
  })

  it('is read where a crash has left no footer at its end, and gets one when it is closed', async () => {
    const files = await image()
    const { size } = files.file('image')
    files.file('image').truncate(size - 512)
    const disk = await open(files)
    const buf = new Uint8Array(4096)
    await disk.read(3 * 2 ** 20, buf)
    expect(buf.every((byte) => byte === 1)).toBe(true)
    await disk.close()
    const [head, tail] = [new Uint8Array(512), new Uint8Array(512)]
    files.file('image').read(0, head)
    files.file('image').read(files.file('image').size - 512, tail)
    expect([files.file('image').size, tail]).toEqual([size, head])
  })

  it('gives an error where an entry points into the table', async () => {
    const files = await image()
    files.file('image').write(1536, Uint8Array.of(0, 0, 0, 1))
    const disk = await open(files)
    await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    await expect(disk.write(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
  })
})

describe('the size of a disk', () => {
  it('is that of the geometry, or the exact one, by the creator and by forceSizeCalc', async () => {
    const files = await image()
    expect((await open(files)).size).toBe(10514432)
    footer(files, 28, [0x77, 0x69, 0x6e, 0x20])
    footer(files, 48, [0, 0, 0, 0, 0, 0x60, 0, 0])
    expect((await open(files)).size).toBe(0x600000)
    expect((await open(files, { forceSizeCalc: 'chs' })).size).toBe(10514432)
    expect((await open(await image({ forceSize: true }), { forceSizeCalc: 'chs' })).size).toBe(10 * 2 ** 20)
  })

  it.each([
    [0, 0],
    [1, 68],
    [20480, 20536],
    [266338304, 266338320],
    [267382800, 267382800],
  ])('of %d sectors has the geometry that qemu-img gives it', (sectors, covered) => {
    expect(sectorsOf(coveringGeometry(sectors))).toBe(covered)
  })
})
