import { writeFileSync } from 'node:fs'
import { type Disk, Graph } from '@diskgraph/core'
import { dmg } from '@diskgraph/driver-dmg'
import { file } from '@diskgraph/driver-file'
import { raw } from '@diskgraph/driver-raw'
import { MemoryFiles, mustShowExample, peer, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { type DmgFields, dmgImage, filled, usualPieces } from './image.ts'

const kinds = ['property list', 'resource fork'] as const

async function opened(bytes: Uint8Array, onWarning = (_text: string): void => {}): Promise<Disk> {
  const files = new MemoryFiles()
  files.put('image').write(0, bytes)
  const graph = new Graph({ drivers: [dmg, files.driver], onWarning: (warning) => onWarning(String(warning)) })
  return graph.addUnchecked({ driver: 'dmg', readOnly: true, file: { driver: 'testkit-file', name: 'image' } })
}

async function contentOf(disk: Disk): Promise<Uint8Array> {
  const buf = new Uint8Array(disk.size)
  await disk.read(0, buf)
  return buf
}

describe('dmg', () => {
  it.each(kinds)('reads what stands in the tables of a %s', async (where) => {
    const { bytes, content } = dmgImage(usualPieces(16), where)
    expect(Buffer.compare(await contentOf(await opened(bytes)), content)).toBe(0)
  })

  it('tells which parts are zeroes, compressed, and where the others stand', async () => {
    const disk = await opened(dmgImage(usualPieces(16), 'property list').bytes)
    const found: unknown[] = []
    for await (const { length, data, zero, compressed } of disk.extents()) {
      found.push([length, data, zero, compressed === true])
    }
    expect(found).toEqual([
      [8192, true, false, true],
      [16384, true, false, false],
      [8192, false, true, false],
      [8192, true, false, true],
      [16384, false, true, false],
      [8192, true, false, true],
    ])
  })

  it('is found by its trailer, whatever its name, and by its name', async () => {
    await using folder = await TempFolder.make()
    const { bytes, content } = dmgImage(usualPieces(16), 'property list')
    writeFileSync(folder.file('disk'), bytes)
    await using graph = new Graph({ drivers: [dmg, raw, file] })
    const disk = await graph.open(folder.file('disk'), { readOnly: true })
    expect([disk.node.driver.name, disk.size]).toEqual(['dmg', content.length])
    expect(dmg.probe?.(new Uint8Array(512), 'a.dmg')).toBe(2)
  })

  it('says that an encrypted image is encrypted, and that a part of a set is one', async () => {
    const encrypted = new Uint8Array(2048)
    encrypted.set(new TextEncoder().encode('encrcdsa'))
    await expect(opened(encrypted)).rejects.toThrow('the image is encrypted')
    await expect(opened(new Uint8Array(2048))).rejects.toThrow('Could not locate UDIF trailer in dmg file')
    const { bytes, fields } = dmgImage(usualPieces(1), 'property list')
    new DataView(bytes.buffer).setUint32(fields.trailer + 60, 3)
    await expect(opened(bytes)).rejects.toThrow('the image is one of 3 parts')
  })

  it('reads what is around a chunk that it cannot read, or that is damaged', async () => {
    const damaged = Uint8Array.from({ length: 40 }, (_, i) => i)
    const warnings: string[] = []
    const { bytes } = dmgImage(
      [
        [
          { kind: 1, content: filled(512, 1) },
          { kind: 0x80000007, content: filled(512, 2), stored: damaged },
          { kind: 0x80000005, content: filled(512, 3), stored: damaged },
          { kind: 0x80000006, content: filled(512, 3), stored: damaged },
          { kind: 0x80000008, content: filled(512, 3), stored: damaged },
          { kind: 1, content: filled(512, 4) },
        ],
      ],
      'property list',
    )
    const disk = await opened(bytes, (text) => warnings.push(text))
    expect(warnings.join()).toContain('Image contains chunks of unknown type lzfse')
    await expect(disk.read(512, new Uint8Array(1))).rejects.toThrow("the chunk at 512 is of kind 'lzfse'")
    for (const offset of [1024, 1536, 2048]) {
      const buf = new Uint8Array(512).fill(0x77)
      await expect(disk.read(offset, buf)).rejects.toThrow(`the chunk at ${offset} of the disk cannot be decompressed`)
    }
    const buf = new Uint8Array(512)
    await disk.read(2560, buf)
    expect(Buffer.compare(buf, filled(512, 4))).toBe(0)
  })

  it('gives an error for sectors that no chunk holds, and for a chunk of another length than the table says', async () => {
    const { bytes, fields } = dmgImage(usualPieces(1), 'resource fork')
    const view = new DataView(bytes.buffer)
    view.setBigUint64(fields.trailer + 492, 100n)
    view.setBigUint64(fields.chunks[0]! + 16, 0n)
    const disk = await opened(bytes)
    await expect(disk.read(0, new Uint8Array(1))).rejects.toThrow('no chunk of the image holds sector 0')
    await expect(disk.read(99 * 512, new Uint8Array(1))).rejects.toThrow('no chunk of the image holds sector 99')
    const short = dmgImage([[{ kind: 0x80000005, content: filled(1024, 1), stored: dmgPiece(512) }]], 'property list')
    await expect((await opened(short.bytes)).read(0, new Uint8Array(1))).rejects.toThrow('cannot be decompressed')
  })
})

/** A deflated piece of `length` bytes. */
function dmgPiece(length: number): Uint8Array {
  const { bytes, fields } = dmgImage([[{ kind: 0x80000005, content: filled(length, 1) }]], 'resource fork')
  const stored = new DataView(bytes.buffer).getBigUint64(fields.chunks[0]! + 32)
  return bytes.slice(0, Number(stored))
}

describe('a damaged image', () => {
  const chunk = (fields: DmgFields): number => fields.chunks[2]!
  it.each([
    ['a chunk behind the file', (f: DmgFields) => chunk(f) + 24, 2n ** 40n, 'behind the end of the file'],
    ['a chunk too large', (f: DmgFields) => f.chunks[0]! + 16, 131073n, 'bytes for chunk 0 is larger than max'],
    [
      'a chunk with too much data',
      (f: DmgFields) => f.chunks[0]! + 32,
      2n ** 27n,
      'bytes for chunk 0 is larger than max',
    ],
    ['data of another length', (f: DmgFields) => chunk(f) + 32, 100n, 'chunk 0 is not compressed, and has 100 bytes'],
    ['a chunk of too many sectors', (f: DmgFields) => f.chunks[2]! + 16, 2n ** 60n, 'is not compressed|is too large'],
    ['chunks that overlap', (f: DmgFields) => chunk(f) + 8, 2n ** 64n - 1n, 'two chunks hold|is too large'],
    ['a disk too large', (f: DmgFields) => f.trailer + 492, 2n ** 50n, 'the disk has'],
    ['a fork too long', (f: DmgFields) => f.trailer + 48, 2n ** 25n, 'the resource fork of the image'],
    ['a fork behind the file', (f: DmgFields) => f.trailer + 40, 2n ** 63n, 'the resource fork of the image'],
    ['no tables', (f: DmgFields) => f.trailer + 48, 0n, 'neither a resource fork nor a property list'],
    ['a fork that is none', (f: DmgFields) => f.trailer + 40, 1n, 'the resource fork of the image is damaged'],
  ])('is refused: %s', async (_, place, value, text) => {
    const { bytes, fields } = dmgImage(usualPieces(1), 'resource fork')
    new DataView(bytes.buffer).setBigUint64(place(fields), value)
    await expect(opened(bytes)).rejects.toThrow(new RegExp(text))
  })

  it.each([
    ['</plist>', '</plistX', 'property list of the image'],
    ['</key>', '</kex>', 'closes what it did not open'],
    ['<data>\n', '<data>%', 'no base64'],
    ['</array>', '<!--ray>', 'ends within a tag'],
  ])('is refused when %s becomes %s', async (from, to, text) => {
    const { bytes } = dmgImage(usualPieces(1), 'property list')
    const at = Buffer.from(bytes).indexOf(from)
    bytes.set(new TextEncoder().encode(to), at)
    await expect(opened(bytes)).rejects.toThrow(text)
  })

  it.each([
    ['lists', 100, 40_000, 'it lists 80000 tables'],
    ['tables', 1, 3000, 'its tables take'],
  ])(
    'is refused soon when %s of its resource fork stand for the same bytes again',
    async (_, types, resources, text) => {
      const list = 28 + 2 + 8 * types
      const map = Buffer.alloc(list + 12 * Math.max(resources, 1))
      map.writeUInt16BE(28, 24)
      map.writeUInt16BE(types - 1, 28)
      for (let type = 0; type < types; type++) {
        map.write('blkx', 30 + 8 * type)
        map.writeUInt16BE(resources - 1, 34 + 8 * type)
        map.writeUInt16BE(list - 28, 36 + 8 * type)
      }
      const head = Buffer.alloc(16 + 4 + 204)
      head.writeUInt32BE(16, 0)
      head.writeUInt32BE(head.length, 4)
      head.writeUInt32BE(204, 16)
      head.write('mish', 20)
      const { bytes, fields } = dmgImage(usualPieces(1), 'resource fork')
      const image = Buffer.concat([head, map, bytes.subarray(fields.trailer)])
      image.writeBigUInt64BE(0n, head.length + map.length + 40)
      image.writeBigUInt64BE(BigInt(head.length + map.length), head.length + map.length + 48)
      await expect(opened(image)).rejects.toThrow(text)
    },
  )

  it('is refused soon when its property list is nothing but tags', async () => {
    const { bytes, fields } = dmgImage(usualPieces(1), 'property list')
    const list = Buffer.from('<a>'.repeat(2 ** 22))
    const image = Buffer.concat([list, bytes.subarray(fields.trailer)])
    image.writeBigUInt64BE(0n, list.length + 216)
    image.writeBigUInt64BE(BigInt(list.length), list.length + 224)
    await expect(opened(image)).rejects.toThrow('is nested too deeply')
  })
})

peer('qemu-img', { describe, it }).it.each(kinds)('reads a %s as it does for the real tools', async (where) => {
  await using folder = await TempFolder.make()
  const pieces = usualPieces(16).slice(0, 2)
  const { bytes, content } = dmgImage(pieces, where)
  writeFileSync(folder.file('image.dmg'), bytes)
  writeFileSync(folder.file('raw'), content)
  const { status, stdout, stderr } = await runTool('qemu-img', [
    ...['compare', '-f', 'dmg', '-F', 'raw'],
    ...[folder.file('image.dmg'), folder.file('raw')],
  ])
  expect([status, stdout], stderr).toEqual([0, 'Images are identical.\n'])
})

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  const { bytes } = dmgImage(usualPieces(16), 'property list')
  const files = new MemoryFiles()
  files.put('image').write(0, bytes)
  const storage = { driver: 'testkit-file', name: 'image' } as const
  await using graph = new Graph({ drivers: [files.driver, dmg] })
  await graph.addNode({ ...storage, nodeName: 'storage' })
  const disk = await graph.add({ driver: 'dmg', file: 'storage', readOnly: true })
  await disk.read(0, new Uint8Array(512))
})
