import { writeFileSync } from 'node:fs'
import { Graph } from '@diskgraph/core'
import { bochs } from '@diskgraph/driver-bochs'
import { conformance, MemoryFiles, mustShowExample, peer, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { bochsImage, extentSize } from './image.ts'

for (const version of [0x10000, 0x20000]) {
  await conformance({
    test: { describe, it },
    driver: bochs,
    size: 64 * 1024,
    setUp({ files, storage }) {
      const { bytes, content } = bochsImage(version)
      const image = files.put('image')
      image.truncate(bytes.length)
      image.write(0, bytes)
      return { definition: { driver: 'bochs', file: storage('image') }, content }
    },
  })
}

async function changed(offset: number, value: bigint, width: number) {
  const { bytes } = bochsImage()
  const field = new Uint8Array(8)
  new DataView(field.buffer).setBigUint64(0, value, true)
  const files = new MemoryFiles()
  files.put('image').write(0, bytes)
  files.file('image').write(offset, field.subarray(0, width))
  const graph = new Graph({ drivers: [bochs, files.driver] })
  return graph.addUnchecked({ driver: 'bochs', readOnly: true, file: { driver: 'testkit-file', name: 'image' } })
}

describe('a damaged image', () => {
  it.each([
    ['magic', 0, 0n, 4, 'Image not in Bochs format'],
    ['version', 64, 3n, 4, 'Image not in Bochs format'],
    ['catalog', 72, 0xffffffffn, 4, 'Catalog size is too large'],
    ['catalog behind the file', 72, 0x10000n, 4, 'behind the end of the file'],
    ['small catalog', 72, 15n, 4, 'Catalog size is too small for this disk size'],
    ['extents of nothing', 80, 0n, 4, 'Extent size must be at least 512'],
    ['odd extents', 80, 4097n, 4, 'Extent size 4097 is not a power of two'],
    ['large extents', 80, 0x80000000n, 4, 'Extent size 2147483648 is too large'],
    ['size', 88, 2n ** 63n, 8, 'Catalog size is too small for this disk size'],
  ] as const)("is refused with QEMU's words: %s", async (_, offset, value, width, text) => {
    await expect(changed(offset, value, width)).rejects.toThrow(text)
  })

  it('gives an error where an extent stands behind the end of the file', async () => {
    const disk = await changed(512 + 4, 9n, 4)
    await expect(disk.read(extentSize, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
  })
})

peer('qemu-img', { describe, it }).it('reads as it does for the real tools', async () => {
  await using folder = await TempFolder.make()
  const { bytes, content } = bochsImage()
  writeFileSync(folder.file('image'), bytes)
  writeFileSync(folder.file('raw'), content)
  const { status, stdout } = await runTool('qemu-img', [
    ...['compare', '-f', 'bochs', '-F', 'raw'],
    ...[folder.file('image'), folder.file('raw')],
  ])
  expect([status, stdout]).toEqual([0, 'Images are identical.\n'])
})

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  const { bytes } = bochsImage()
  const files = new MemoryFiles()
  files.put('image').write(0, bytes)
  const storage = { driver: 'testkit-file', name: 'image' } as const
  await using graph = new Graph({ drivers: [files.driver, bochs] })
  await graph.addNode({ ...storage, nodeName: 'storage' })
  const disk = await graph.add({ driver: 'bochs', file: 'storage', readOnly: true })
  await disk.read(0, new Uint8Array(512))
})
