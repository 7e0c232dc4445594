import { writeFileSync } from 'node:fs'
import { Graph } from '@diskgraph/core'
import { cloop } from '@diskgraph/driver-cloop'
import { conformance, MemoryFiles, mustShowExample, peer, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { cloopImage } from './image.ts'

await conformance({
  test: { describe, it },
  driver: cloop,
  size: 64 * 1024,
  setUp({ files, storage }) {
    const { bytes, content } = cloopImage(16, 4096)
    const image = files.put('image')
    image.truncate(bytes.length)
    image.write(0, bytes)
    return { definition: { driver: 'cloop', file: storage('image') }, content }
  },
})

async function opened(change: (bytes: Uint8Array, view: DataView) => void) {
  const { bytes } = cloopImage(4, 4096)
  change(bytes, new DataView(bytes.buffer, bytes.byteOffset))
  const files = new MemoryFiles()
  files.put('image').write(0, bytes)
  const graph = new Graph({ drivers: [cloop, files.driver] })
  return graph.addUnchecked({ driver: 'cloop', readOnly: true, file: { driver: 'testkit-file', name: 'image' } })
}

it('is opened with its file for reading where the format is found by its content, too', async () => {
  const files = new MemoryFiles()
  files.put('image').write(0, cloopImage(4, 4096).bytes)
  await using graph = new Graph({ drivers: [cloop, files.driver] })
  const disk = await graph.addUnchecked({ file: { driver: 'testkit-file', name: 'image' } })
  expect(disk.node.children.get('file')?.node.readOnly).toBe(true)
  expect([...graph.nodes].length).toBe(2)
})

describe('a damaged image', () => {
  it.each([
    ['no block size', 128, 0n, 4, 'block_size cannot be zero'],
    ['odd block size', 128, 513n, 4, 'block_size 513 must be a multiple of 512'],
    ['large blocks', 128, 2n ** 26n + 512n, 4, 'block_size 67109376 must be 64 MB or less'],
    ['many blocks', 132, 0xffffffffn, 4, 'n_blocks 4294967295 must be 536870911 or less'],
    ['too many blocks', 132, 2n ** 26n, 4, 'image requires too many offsets, try increasing block size'],
    [
      'more blocks than the file has',
      132,
      2n ** 25n,
      4,
      'the table of 33554433 offsets ends behind the end of the file',
    ],
    ['offsets that go back', 144, 0n, 8, 'offsets not monotonically increasing at index 1, image file is corrupt'],
    ['a far offset', 144, 2n ** 60n, 8, 'invalid compressed block size at index 1, image file is corrupt'],
    ['an offset above 2^63', 144, 2n ** 63n, 8, 'invalid compressed block size at index 1, image file is corrupt'],
    ['an offset behind the file', 168, 2n ** 20n, 8, 'invalid compressed block size at index 4, image file is corrupt'],
  ] as const)('is refused: %s', async (_, offset, value, width, text) => {
    const opening = opened((_bytes, view) => {
      if (width === 4) view.setUint32(offset, Number(value))
      else view.setBigUint64(offset, value)
    })
    await expect(opening).rejects.toThrow(text)
  })

  it('gives an error for a block that does not inflate, or to another length, and reads the others', async () => {
    const disk = await opened((bytes, view) => {
      bytes[Number(view.getBigUint64(136)) + 20]! ^= 0xff
      view.setBigUint64(136 + 16, view.getBigUint64(136 + 24))
    })
    await expect(disk.read(0, new Uint8Array(1))).rejects.toThrow('block 0 of the image cannot be decompressed')
    await expect(disk.read(2 * 4096, new Uint8Array(1))).rejects.toThrow('block 2 of the image cannot be decompressed')
    await disk.read(3 * 4096, new Uint8Array(4096))
  })
})

peer('qemu-img', { describe, it }).it('reads as it does for the real tools', async () => {
  await using folder = await TempFolder.make()
  const { bytes, content } = cloopImage(20, 65536)
  writeFileSync(folder.file('image'), bytes)
  writeFileSync(folder.file('raw'), content)
  const { status, stdout } = await runTool('qemu-img', [
    ...['compare', '-f', 'cloop', '-F', 'raw'],
    ...[folder.file('image'), folder.file('raw')],
  ])
  expect([status, stdout]).toEqual([0, 'Images are identical.\n'])
})

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  const { bytes } = cloopImage(4, 4096)
  const files = new MemoryFiles()
  files.put('image').write(0, bytes)
  const storage = { driver: 'testkit-file', name: 'image' } as const
  await using graph = new Graph({ drivers: [files.driver, cloop] })
  await graph.addNode({ ...storage, nodeName: 'storage' })
  const disk = await graph.add({ driver: 'cloop', file: 'storage', readOnly: true })
  await disk.read(0, new Uint8Array(512))
})
