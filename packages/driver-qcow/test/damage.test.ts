import { Graph } from '@diskgraph/core'
import { qcow } from '@diskgraph/driver-qcow'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const clusterSize = 4096
const root = 48
/** The header with the root, and then what is taken first. */
const table = clusterSize

/** An image with the clusters 3 and 5 written, changed at `offset`. */
async function damaged(offset: number, value: bigint, width: number) {
  const files = new MemoryFiles()
  files.put('image')
  const file = { driver: 'testkit-file', name: 'image' }
  const graph = new Graph({ drivers: [qcow, files.driver], onWarning: () => undefined })
  await graph.createUnchecked({ driver: 'qcow', size: 2 ** 20, file })
  const disk = await graph.addUnchecked({ driver: 'qcow', file })
  await disk.write(3 * clusterSize, new Uint8Array(clusterSize).fill(1))
  await disk.write(5 * clusterSize, new Uint8Array(clusterSize).fill(2))
  await disk.close()
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  files.file('image').write(offset, bytes.subarray(8 - width))
  return (settings = {}) => graph.addUnchecked({ driver: 'qcow', file }, settings)
}

describe('a damaged header', () => {
  it.each([
    ['magic', 0, 0n, 4, 'Image not in qcow format'],
    ['version 2', 4, 2n, 4, 'qcow (v1) does not support qcow version 2'],
    ['size 0', 24, 0n, 8, 'Image size is too small (must be at least 2 bytes)'],
    ['size 1', 24, 1n, 8, 'Image size is too small (must be at least 2 bytes)'],
    ['size', 24, 2n ** 62n, 8, 'Image too large'],
    ['size above 2^63', 24, 2n ** 63n, 8, 'Image too large'],
    ['small clusters', 32, 8n, 1, 'Cluster size must be between 512 and 64k'],
    ['large clusters', 32, 17n, 1, 'Cluster size must be between 512 and 64k'],
    ['small tables', 33, 5n, 1, 'L2 table size must be between 512 and 64k'],
    ['large tables', 33, 14n, 1, 'L2 table size must be between 512 and 64k'],
    ['encryption', 36, 3n, 4, 'invalid encryption method in qcow header'],
    ['AES', 36, 1n, 4, 'the image is encrypted (AES)'],
    ['root, far away', 40, 2n ** 60n, 8, 'the root of the tables stands at'],
    ['root over the header', 40, 8n, 8, 'the root of the tables stands at'],
    ['name, far away', 8, 2n ** 60n, 8, 'the name of the backing file stands behind the end of the file'],
  ] as const)('is refused: %s', async (_, offset, value, width, text) => {
    const open = await damaged(offset, value, width)
    await expect(open()).rejects.toThrow(text)
  })

  it('is shown where the data is encrypted', async () => {
    const open = await damaged(36, 1n, 4)
    const disk = await open({ inspect: true })
    expect(await disk.info()).toMatchObject({ encrypted: true, clusterSize })
    await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'ENOTSUP' })
  })
})

describe('a damaged table', () => {
  it.each([
    ['an entry behind the file', table + 3 * 8, 2n ** 40n],
    ['an entry above 2^53', table + 3 * 8, 2n ** 62n],
    ['a table behind the file', root, 2n ** 40n],
  ] as const)('is never read or written through: %s', async (_, offset, value) => {
    const disk = await (await damaged(offset, value, 8))()
    await expect(disk.read(3 * clusterSize, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    await expect(disk.write(3 * clusterSize, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
  })

  it.each([
    ['of no length', 2n ** 63n + 4096n],
    ['behind the end of the file', 2n ** 63n + (21n << 51n) + 2n ** 40n],
    ['above 2^53', 2n ** 63n + (21n << 51n) + 2n ** 50n],
    ['that is none', 2n ** 63n + (21n << 51n) + 4096n],
  ] as const)('gives an error for a compressed cluster %s, and can be written over', async (_, value) => {
    const disk = await (await damaged(table + 3 * 8, value, 8))()
    await expect(disk.read(3 * clusterSize, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    await disk.write(3 * clusterSize, new Uint8Array(clusterSize).fill(3))
    const buf = new Uint8Array(clusterSize)
    await disk.read(3 * clusterSize, buf)
    expect(buf.every((byte) => byte === 3)).toBe(true)
  })
})
