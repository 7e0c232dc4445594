import { Graph } from '@diskgraph/core'
import { parallels } from '@diskgraph/driver-parallels'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const clusterSize = 65536

/** An image with the clusters 3 and 5 written, changed at `offset`, and what is found in it. */
async function damaged(offset: number, value: bigint, width: number) {
  const files = new MemoryFiles()
  files.put('image')
  const file = { driver: 'testkit-file', name: 'image' }
  await using graph = new Graph({ drivers: [parallels, files.driver], onWarning: () => undefined })
  await graph.createUnchecked({ driver: 'parallels', size: 2 ** 20, clusterSize, file })
  const disk = await graph.addUnchecked({ driver: 'parallels', file })
  await disk.write(3 * clusterSize, new Uint8Array(4096).fill(1))
  await disk.write(5 * clusterSize, new Uint8Array(4096).fill(2))
  await disk.close()
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, true)
  files.file('image').write(offset, bytes.subarray(0, width))
  return { files, open: (more = {}, settings = {}) => reopened(files, more, settings) }
}

async function reopened(files: MemoryFiles, more: object, settings: object) {
  const graph = new Graph({ drivers: [parallels, files.driver], onWarning: () => undefined })
  const file = { driver: 'testkit-file', name: 'image' }
  return graph.addUnchecked({ driver: 'parallels', file, ...more }, settings)
}

describe('a damaged header', () => {
  it.each([
    ['magic', 0, 0n, 4, 'Image not in Parallels format'],
    ['version', 16, 3n, 4, 'Image not in Parallels format'],
    ['tracks 0', 28, 0n, 4, 'Invalid image: Zero sectors per track'],
    ['tracks', 28, 0x7fffffffn, 4, 'Invalid image: Too big cluster'],
    ['entries', 32, 0xffffffffn, 4, 'Catalog too large'],
    ['entries that the file has no room for', 32, 0x1000000n, 4, 'behind the end of the file'],
    ['size', 36, 2n ** 60n, 8, 'larger than 2^53 - 1'],
    ['extension', 56, 1n, 8, 'Wrong parallels Format Extension magic: 0x'],
    ['extension far away', 56, 2n ** 54n, 8, 'Invalid image: Too big offset'],
  ] as const)("is refused with QEMU's words: %s", async (_, offset, value, width, text) => {
    const { open } = await damaged(offset, value, width)
    await expect(open({ readOnly: true })).rejects.toThrow(text)
  })
})

describe('a damaged table', () => {
  it.each([
    ['a cluster behind the file', 64 + 12, 9n, 'ERROR cluster 3 is outside image'],
    ['a cluster that two entries have', 64 + 12, 2n, 'ERROR cluster 5 is also used by another one'],
    ['an image that was not closed', 44, 0x746f6e59n, 'ERROR image was not closed correctly'],
  ] as const)('is found and repaired: %s', async (_, offset, value, text) => {
    const { open } = await damaged(offset, value, 4)
    const texts: string[] = []
    const disk = await open({}, { check: true })
    const onFinding = (_kind: string, line: string): void => void texts.push(line)
    expect(await disk.check({ repair: 'none', onFinding })).toMatchObject({ corruptions: 1 })
    expect(texts).toContain(text)
    expect(await disk.check({ repair: 'all' })).toMatchObject({ corruptions: 0, corruptionsFixed: 1 })
    expect(await disk.check({ repair: 'none' })).toMatchObject({ corruptions: 0, leaks: 0 })
    await disk.close()
  })

  it('repairs an image that was not closed when it is opened for writing', async () => {
    const { open, files } = await damaged(44, 0x746f6e59n, 4)
    const disk = await open()
    await disk.close()
    const field = new Uint8Array(4)
    files.file('image').read(44, field)
    expect([...field]).toEqual([0, 0, 0, 0])
  })

  it('gives an error where a cluster outside of the file is read', async () => {
    const { open } = await damaged(64 + 12, 9n, 4)
    const disk = await open()
    await expect(disk.read(3 * clusterSize, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    await expect(disk.write(3 * clusterSize, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
  })

  it('tells space behind the last cluster as a leak, and cuts it off', async () => {
    const { open, files } = await damaged(44, 0n, 4)
    files.file('image').truncate(6 * clusterSize)
    const disk = await open()
    expect(await disk.check({ repair: 'none' })).toMatchObject({ leaks: 3 })
    expect(await disk.check({ repair: 'leaks' })).toMatchObject({ leaksFixed: 3 })
    expect(files.file('image').size).toBe(3 * clusterSize)
  })
})
