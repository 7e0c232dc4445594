import { type BlockEvent, type Disk, Flag, Graph } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { MemoryFiles, type PagedFile } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const MiB = 1024 * 1024
const copied = 1n << 63n
const compressed = 1n << 62n
const [refcountTable, refcountBlock, l1, l2] = [0x10000, 0x20000, 0x30000, 0x40000]

/** An image whose bytes a test sets. */
class EditedImage {
  readonly memoryFiles = new MemoryFiles()
  readonly warnings: string[] = []
  readonly events: BlockEvent[] = []
  readonly graph = new Graph({
    drivers: [this.memoryFiles.driver, qcow2],
    onWarning: (text) => this.warnings.push(text),
  })
  readonly definition = { driver: 'qcow2', nodeName: 'disk', file: { driver: 'testkit-file', name: 'image' } }

  /** An image whose first MiB is written, with one L2 table behind the L1 table. */
  static async make(createOptions: Record<string, unknown> = {}): Promise<EditedImage> {
    const image = new EditedImage()
    const { driver, file } = image.definition
    await image.graph.createUnchecked({ driver, file, size: 100 * MiB, ...createOptions })
    const disk = await image.open()
    await disk.write(0, new Uint8Array(MiB).fill(1))
    await disk.close()
    image.graph.onEvent((event) => image.events.push(event))
    return image
  }

  get file(): PagedFile {
    return this.memoryFiles.byName.get('image')!
  }

  set(offset: number, value: bigint): void {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigUint64(0, value)
    this.file.write(offset, bytes)
  }

  get(offset: number): bigint {
    const bytes = new Uint8Array(8)
    this.file.read(offset, bytes)
    return new DataView(bytes.buffer).getBigUint64(0)
  }

  open(options: Record<string, unknown> = {}): Promise<Disk> {
    return this.graph.addUnchecked({ ...this.definition, ...options })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.graph.close()
  }
}

const cluster = new Uint8Array(65536).fill(7)
const read = (disk: Disk) => disk.read(0, new Uint8Array(65536))
const write = (disk: Disk) => disk.write(0, cluster)
const far = (disk: Disk) => disk.write(50 * MiB, cluster)

/** Damage, what is done, and what the real tools say to it. */
const cases: readonly (readonly [string, number, bigint, (disk: Disk) => Promise<void>, string])[] = [
  ['an L2 table that is not aligned', l1, copied | 0x40200n, read, 'L2 table offset 0x40200 unaligned (L1 index: 0)'],
  [
    'a data cluster that is not aligned',
    l2,
    copied | 0x50200n,
    read,
    'Cluster allocation offset 0x50200 unaligned (L2 offset: 0x40000, L2 index: 0)',
  ],
  ['a mapping of the refcount table', l2, copied | 0x10000n, write, overlap('refcount table')],
  ['a mapping of a refcount block', l2, copied | 0x20000n, write, overlap('refcount block')],
  ['a mapping of the L1 table', l2, copied | 0x30000n, write, overlap('active L1 table')],
  ['a mapping of an L2 table', l2, copied | 0x40000n, write, overlap('active L2 table')],
  [
    'a refcount block that is not aligned',
    refcountTable,
    0x20200n,
    far,
    'Refblock offset 0x20200 unaligned (reftable index: 0)',
  ],
  ['refcounts of zero for all metadata', refcountBlock, 0n, far, overlap('qcow2_header')],
  ['a refcount of zero for an L2 table', refcountBlock + 8, 0n, far, overlap('active L2 table')],
]

function overlap(name: string): string {
  return `Preventing invalid write on metadata (overlaps with ${name})`
}

describe('damaged images', () => {
  it.each(cases)('%s is found, marked and announced', async (_, offset, value, use, message) => {
    await using image = await EditedImage.make()
    image.set(offset, value)
    const disk = await image.open()
    await expect(use(disk)).rejects.toMatchObject({ code: 'EIO', message })
    expect(image.warnings).toContain(
      `qcow2: Marking image as corrupt: ${message}; further corruption events will be suppressed`,
    )
    expect(image.events).toMatchObject([
      { event: 'BLOCK_IMAGE_CORRUPTED', nodeName: 'disk', data: { nodeName: 'disk', msg: message, fatal: true } },
    ])
    expect(image.get(72)).toBe(2n)
    await expect(read(disk)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
    await expect(write(disk)).rejects.toMatchObject({ code: 'ENOMEDIUM' })
    await disk.close()
    await expect(image.open({ autoReadOnly: false })).rejects.toThrow('Image is corrupt; cannot be opened read/write')
  })

  it('the range of an overlapping write is announced', async () => {
    await using image = await EditedImage.make()
    image.set(l2, copied | 0x30000n)
    const disk = await image.open()
    await expect(write(disk)).rejects.toMatchObject({ code: 'EIO' })
    expect(image.events[0]?.data).toMatchObject({ offset: 0x30000, size: 65536 })
  })

  it('a read-only image fails the request, tells it once, and stays usable', async () => {
    await using image = await EditedImage.make()
    image.set(l2, copied | 0x50200n)
    const disk = await image.open({ readOnly: true })
    await expect(read(disk)).rejects.toMatchObject({ code: 'EIO' })
    await expect(read(disk)).rejects.toMatchObject({ code: 'EIO' })
    await disk.read(65536, new Uint8Array(65536))
    expect(image.warnings.filter((text) => text.startsWith('qcow2: Image is corrupt: '))).toHaveLength(1)
    expect(image.events).toMatchObject([{ data: { fatal: false } }])
    expect(image.get(72)).toBe(0n)
  })

  it('what cannot be freed is told once, and stays what it was', async () => {
    await using image = await EditedImage.make()
    image.set(l2, copied | 0x52a00n)
    image.set(l2 + 8, copied | 0x62a00n)
    const disk = await image.open({ discard: 'unmap' })
    await disk.discard(0, 2 * 65536)
    await disk.flush()
    const tail = 'further non-fatal corruption events will be suppressed'
    expect(image.warnings).toEqual([`qcow2: Image is corrupt: Cannot free unaligned cluster 0x52a00; ${tail}`])
    expect(image.events).toMatchObject([{ event: 'BLOCK_IMAGE_CORRUPTED', data: { fatal: false } }])
    expect(image.get(72)).toBe(0n)
    await disk.close()
  })

  it.each([
    ['an L2 table', 'L2 table', (disk: Disk) => disk.write(1024 * MiB, cluster)],
    ['compressed data', 'compressed cluster', (disk: Disk) => disk.write(50 * MiB, cluster, Flag.Compressed)],
  ])('the cluster of the header is not taken for %s', async (_, what, use) => {
    await using image = await EditedImage.make({ size: 2048 * MiB })
    image.set(refcountBlock, 0n)
    const disk = await image.open()
    const message = `Preventing invalid allocation of ${what} at offset 0`
    await expect(use(disk)).rejects.toMatchObject({ code: 'EIO', message })
    expect(image.get(0)).not.toBe(0n)
  })

  it('a zero flag in a version 2 image is damage', async () => {
    await using image = await EditedImage.make({ compat: 'v2' })
    image.set(l2, copied | 0x50001n)
    const disk = await image.open()
    const message = 'Zero cluster entry found in pre-v3 image (L2 offset: 0x40000, L2 index: 0)'
    await expect(read(disk)).rejects.toMatchObject({ code: 'EIO', message })
  })

  it('a mapping beyond the largest offset is too large, and no damage to the rest', async () => {
    await using image = await EditedImage.make()
    image.set(l2, copied | (1n << 55n))
    const disk = await image.open()
    await expect(write(disk)).rejects.toMatchObject({ code: 'EFBIG' })
    await disk.write(65536, cluster)
    await disk.close()
  })

  it('a mapping far behind the end of the file is not written through, unless that is allowed', async () => {
    await using image = await EditedImage.make()
    image.set(l2, copied | (1n << 43n))
    const disk = await image.open()
    await expect(write(disk)).rejects.toMatchObject({ code: 'EIO' })
    expect(image.file.size).toBeLessThan(2 * MiB)
    await disk.close()
    image.set(72, 0n)
    const allowed = await image.open({ allowFarOffsets: true })
    await write(allowed)
    expect(image.file.size).toBe(2 ** 43 + 65536)
  })

  it.each([
    ['a mapping', 'l2', 0x1616c6756a0000n],
    ['a compressed mapping', 'l2', compressed | (1n << 52n)],
    ['an L2 table', 'l1', copied | 0x1616c6756a0000n],
  ])('%s far behind all counts refuses changes of snapshots at once, and no other use', async (_, table, value) => {
    await using image = await EditedImage.make({ clusterSize: 4096, size: 4 * MiB })
    const before = await image.open()
    await before.snapshots.create({ name: 'one' })
    await before.close()
    const l1Table = Number(image.get(40))
    const l2Table = Number(image.get(l1Table) & 0xfffffffffffe00n)
    image.set(table === 'l1' ? l1Table : l2Table + 5 * 8, value)
    const disk = await image.open()
    const message = /^the refcount of the cluster at 0x1\w{13} is wrong$/
    const start = performance.now()
    for (const work of [() => disk.snapshots.create({ name: 'two' }), () => disk.snapshots.apply('one')]) {
      await expect(work()).rejects.toMatchObject({ code: 'EIO', message: expect.stringMatching(message) })
    }
    expect(performance.now() - start).toBeLessThan(1000)
    await disk.write(2 * MiB, cluster)
    await disk.close()
    expect(image.get(72)).toBe(0n)
  })

  it('a snapshot that maps what lies far behind all counts cannot be deleted', async () => {
    await using image = await EditedImage.make({ clusterSize: 4096, size: 4 * MiB })
    const l2Table = Number(image.get(Number(image.get(40))) & 0xfffffffffffe00n)
    const before = await image.open()
    await before.snapshots.create({ name: 'one' })
    await before.close()
    image.set(l2Table + 5 * 8, 0x1616c6756a0000n)
    const disk = await image.open()
    const start = performance.now()
    await expect(disk.snapshots.delete('one')).rejects.toMatchObject({ code: 'EIO' })
    expect(performance.now() - start).toBeLessThan(1000)
  })

  it('overlap checks can be chosen', async () => {
    await using image = await EditedImage.make()
    image.set(l2, copied | 0x40000n)
    const constant = await image.open({ overlapCheck: 'constant' })
    await write(constant)
    await constant.close()
    image.set(l1, copied | 0x40000n)
    image.set(l2, copied | 0x30000n)
    const chosen = await image.open({ overlapCheck: { template: 'none', activeL1: true } })
    await expect(write(chosen)).rejects.toMatchObject({ message: overlap('active L1 table') })
  })

  it.each([
    ['garbage', compressed | 0x50000n],
    ['data behind the end of the file', compressed | 0x5000000n],
    ['data beyond the largest offset', compressed | (1n << 54n)],
  ])('a compressed cluster of %s fails the read only', async (_, entry) => {
    await using image = await EditedImage.make()
    image.set(l2, entry)
    const disk = await image.open()
    await expect(read(disk)).rejects.toMatchObject({ code: 'EIO' })
    await disk.read(65536, new Uint8Array(65536))
    await write(disk)
    const buf = new Uint8Array(65536)
    await disk.read(0, buf)
    expect(buf).toEqual(cluster)
  })

  it('L1 and L2 tables behind the end of the file read as empty', async () => {
    await using image = await EditedImage.make()
    image.set(l1, copied | 0x40000000n)
    const disk = await image.open()
    const buf = new Uint8Array(65536).fill(9)
    await disk.read(0, buf)
    expect(buf).toEqual(new Uint8Array(65536))
  })
})
