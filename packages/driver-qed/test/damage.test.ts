import { Graph } from '@diskgraph/core'
import { qed } from '@diskgraph/driver-qed'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const clusterSize = 4096
const root = clusterSize
/** The header, the root of two clusters, and then what is taken first. */
const table = 3 * clusterSize
const entries = (2 * clusterSize) / 8

/** An image with the clusters 3 and 5 written, changed at `offset`, and what is found in it. */
async function damaged(offset: number, value: bigint, width: number) {
  const files = new MemoryFiles()
  files.put('image')
  const file = { driver: 'testkit-file', name: 'image' }
  await using graph = new Graph({ drivers: [qed, files.driver], onWarning: () => undefined })
  await graph.createUnchecked({ driver: 'qed', size: 2 ** 20, clusterSize, tableSize: 2, file })
  const disk = await graph.addUnchecked({ driver: 'qed', file })
  await disk.write(3 * clusterSize, new Uint8Array(clusterSize).fill(1))
  await disk.write(5 * clusterSize, new Uint8Array(clusterSize).fill(2))
  await disk.close()
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, true)
  files.file('image').write(offset, bytes.subarray(0, width))
  return { files, open: (more = {}, settings = {}) => reopened(files, more, settings) }
}

async function reopened(files: MemoryFiles, more: object, settings: object) {
  const graph = new Graph({ drivers: [qed, files.driver], onWarning: () => undefined })
  const file = { driver: 'testkit-file', name: 'image' }
  return graph.addUnchecked({ driver: 'qed', file, ...more }, settings)
}

describe('a damaged header', () => {
  it.each([
    ['magic', 0, 0n, 4, 'Image not in QED format'],
    ['cluster size 0', 4, 0n, 4, 'QED cluster size is invalid'],
    ['cluster size', 4, 0x10001n, 4, 'QED cluster size is invalid'],
    ['table size', 8, 3n, 4, 'QED table size is invalid'],
    ['table size 0', 8, 0n, 4, 'QED table size is invalid'],
    ['header size', 12, 0xffffffffn, 4, 'QED table offset is invalid'],
    ['features', 16, 0x80n, 8, 'Unsupported QED features: 80'],
    ['root, unaligned', 40, 4097n, 8, 'QED table offset is invalid'],
    ['root, far away', 40, 2n ** 60n, 8, 'QED table offset is invalid'],
    ['size, unaligned', 48, 1n, 8, 'QED image size is invalid'],
    ['size', 48, 2n ** 63n, 8, 'QED image size is invalid'],
  ] as const)("is refused with QEMU's words: %s", async (_, offset, value, width, text) => {
    const { open } = await damaged(offset, value, width)
    await expect(open({ readOnly: true })).rejects.toThrow(text)
  })

  it('is refused where the name of the backing file stands outside of it', async () => {
    const { open } = await damaged(16, 1n, 8)
    await expect(open({ readOnly: true })).rejects.toThrow('the name of the backing file stands outside of the header')
  })
})

describe('a damaged table', () => {
  it.each([
    ['an entry behind the file', table + 3 * 8, 2n ** 40n],
    ['an entry that is not aligned', table + 3 * 8, BigInt(table + 100)],
    ['an entry that points to the header', table + 3 * 8, 0x200n],
    ['an entry that points to the root', table + 3 * 8, BigInt(root + clusterSize)],
    ['an entry above 2^53', table + 3 * 8, 2n ** 63n],
    ['a table behind the file', root, 2n ** 40n],
    ['a table that would end behind the file', root, BigInt(table + 3 * clusterSize)],
    ['a table that another entry has', root + 8 * (entries - 1), BigInt(table)],
  ] as const)('is found, repaired and never read through: %s', async (what, offset, value) => {
    const { open } = await damaged(offset, value, 8)
    const disk = await open({}, { check: true })
    const beyond = what === 'a table that another entry has'
    if (!beyond) {
      await expect(disk.read(3 * clusterSize, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
      await expect(disk.write(3 * clusterSize, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    }
    // Entries behind the end of the disk are nobody's.
    const found = beyond ? 0 : 1
    expect((await disk.check({ repair: 'none' })).corruptions).toBe(found)
    expect(await disk.check({ repair: 'all' })).toMatchObject({ corruptions: 0, corruptionsFixed: found })
    expect(await disk.check({ repair: 'none' })).toMatchObject({ corruptions: 0 })
    await disk.read(3 * clusterSize, new Uint8Array(512))
    await disk.close()
  })

  it('gives a cluster that two entries have a copy', async () => {
    const { open, files } = await damaged(table + 7 * 8, 0n, 8)
    const entry = new Uint8Array(8)
    files.file('image').read(table + 3 * 8, entry)
    files.file('image').write(table + 7 * 8, entry)
    const disk = await open({}, { check: true })
    expect(await disk.check({ repair: 'all' })).toMatchObject({ corruptionsFixed: 1 })
    await disk.write(3 * clusterSize, new Uint8Array(clusterSize).fill(9))
    const buf = new Uint8Array(clusterSize)
    await disk.read(7 * clusterSize, buf)
    expect(buf.every((byte) => byte === 1)).toBe(true)
    expect(await disk.check({ repair: 'none' })).toMatchObject({ corruptions: 0, leaks: 0 })
    await disk.close()
  })

  it('repairs an image that needs a check when it is opened for writing', async () => {
    const { open, files } = await damaged(16, 2n, 8)
    const disk = await open()
    await disk.close()
    const features = new Uint8Array(8)
    files.file('image').read(16, features)
    expect([...features]).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
  })

  it('tells clusters behind the last one as leaks, and cuts them off', async () => {
    const { open, files } = await damaged(56, 0n, 4)
    const { size } = files.file('image')
    files.file('image').truncate(size + 3 * clusterSize)
    const disk = await open()
    expect(await disk.check({ repair: 'none' })).toMatchObject({ leaks: 3 })
    expect(await disk.check({ repair: 'leaks' })).toMatchObject({ leaksFixed: 3, leaks: 0 })
    expect(files.file('image').size).toBe(size)
    await disk.close()
  })
})
