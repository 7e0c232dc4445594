import { Graph } from '@diskgraph/core'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { vhdx } from '@diskgraph/driver-vhdx'
import { describe, expect, it } from 'vitest'
import { crc32c } from '../src/crc32c.ts'
import { Guid, putGuid } from '../src/layout.ts'

const mib = 2 ** 20
/** Where a new image has them. */
const [bat, metadata] = [2 * mib, 3 * mib]

function fileOf(name: string) {
  return { driver: 'testkit-file', name }
}

/** An image with the blocks 1 and 3 written. */
async function image(files = new MemoryFiles(), name = 'image') {
  await using graph = new Graph({ drivers: [vhdx, files.driver], onWarning: () => undefined })
  await graph.createUnchecked({ driver: 'vhdx', size: 8 * mib, blockSize: mib, file: fileOf(name) })
  const disk = await graph.addUnchecked({ driver: 'vhdx', file: fileOf(name) })
  for (const one of [1, 3]) await disk.write(one * mib, new Uint8Array(mib).fill(one))
  await disk.close()
  return files
}

function open(files: MemoryFiles, more: object = {}, settings: object = {}) {
  const graph = new Graph({ drivers: [vhdx, files.driver], references: 'allow', onWarning: () => undefined })
  return graph.addUnchecked({ driver: 'vhdx', file: fileOf('image'), ...more }, settings)
}

function read(files: MemoryFiles, at: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  files.file('image').read(at, bytes)
  return bytes
}

/** Changes a structure with a checksum, and makes that right. */
function change(
  files: MemoryFiles,
  at: number,
  length: number,
  work: (view: DataView, bytes: Uint8Array) => void,
): void {
  const bytes = read(files, at, length)
  const view = new DataView(bytes.buffer)
  work(view, bytes)
  view.setUint32(4, crc32c(bytes, 4), true)
  files.file('image').write(at, bytes)
}

function put(files: MemoryFiles, at: number, value: bigint, width = 8): void {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value, true)
  files.file('image').write(at, bytes.subarray(0, width))
}

async function byteAt(files: MemoryFiles, offset: number): Promise<number> {
  const disk = await open(files, { readOnly: true })
  const buf = new Uint8Array(1)
  await disk.read(offset, buf)
  await disk.close()
  return buf[0] as number
}

it('has the checksum of the specification', () => {
  expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283)
})

describe('a damaged image', () => {
  it.each([
    ['identifier', (f: MemoryFiles) => put(f, 0, 0n), 'Image not in VHDX format'],
    [
      'regions',
      (f: MemoryFiles) => [0x30000, 0x40000].map((at) => put(f, at, 0n)),
      'no table of regions that is whole',
    ],
    ['metadata', (f: MemoryFiles) => put(f, metadata, 0n), 'the metadata of the image are damaged'],
    ['block size 0', (f: MemoryFiles) => put(f, metadata + 0x10000, 0n, 4), 'VHDX block size 0 is not a power of two'],
    ['block size', (f: MemoryFiles) => put(f, metadata + 0x10000, 0x300000n, 4), 'VHDX block size 3145728 is not'],
    [
      'block size, large',
      (f: MemoryFiles) => put(f, metadata + 0x10000, 2n ** 29n, 4),
      'VHDX block size 536870912 is not',
    ],
    ['sector size', (f: MemoryFiles) => put(f, metadata + 0x10020, 513n, 4), 'VHDX sector size 513 is neither'],
    ['disk size', (f: MemoryFiles) => put(f, metadata + 0x10008, 2n ** 63n), 'is above 64 TiB'],
    [
      'disk size, too large',
      (f: MemoryFiles) => put(f, metadata + 0x10008, 2n ** 45n),
      'the table of blocks is too small',
    ],
    [
      'item outside',
      (f: MemoryFiles) => put(f, metadata + 32 + 16, 0xfffffff0n, 4),
      'the metadata of the image are damaged',
    ],
    [
      'overlapping regions',
      (f: MemoryFiles) => change(f, 0x30000, 0x10000, (view) => view.setBigUint64(16 + 16, BigInt(metadata), true)),
      'regions of the image overlap',
    ],
    [
      'a region over the log',
      (f: MemoryFiles) => change(f, 0x30000, 0x10000, (view) => view.setBigUint64(16 + 16, BigInt(mib), true)),
      'regions of the image overlap',
    ],
    [
      'a region that must be known',
      (f: MemoryFiles) => change(f, 0x30000, 0x10000, (_, bytes) => putGuid(bytes, 16, Guid.diskId)),
      'the image needs a region that is not known',
    ],
    [
      'too many regions',
      (f: MemoryFiles) => change(f, 0x30000, 0x10000, (view) => view.setUint32(8, 0xffffffff, true)),
      'the image is said to have 4294967295 regions',
    ],
  ] as const)('is refused: %s', async (_, damage, text) => {
    const files = await image()
    damage(files)
    await expect(open(files, { readOnly: true })).rejects.toThrow(text)
  })

  it('is read by the header that is whole, and refused without one', async () => {
    const files = await image()
    put(files, 0x10000, 0n)
    expect(await byteAt(files, mib)).toBe(1)
    put(files, 0x20000, 0n)
    await expect(open(files, { readOnly: true })).rejects.toThrow('No valid VHDX header found')
  })

  it.each([
    ['behind the file', 2n ** 40n + 6n],
    ['in front of everything', 6n],
    ['partial, without an image below', BigInt(4 * mib) + 7n],
    ['of an unknown state', BigInt(4 * mib) + 5n],
  ])('is no way to other bytes: a block %s', async (_, entry) => {
    const files = await image()
    put(files, bat + 8, entry)
    const disk = await open(files)
    await expect(disk.read(mib, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    await expect(disk.write(mib, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    expect(await disk.check()).toMatchObject({ corruptions: 1 })
  })
})

describe('a log', () => {
  const guid = '01234567-89ab-cdef-0123-456789abcdef'

  /** Puts an entry into the log that makes block 0 show what block 1 does. */
  async function logged(work: (entry: Uint8Array, view: DataView) => void = () => undefined): Promise<MemoryFiles> {
    const files = await image()
    const sector = read(files, bat, 4096)
    sector.copyWithin(0, 8, 16)
    const entry = new Uint8Array(2 * 4096)
    const view = new DataView(entry.buffer)
    entry.set(new TextEncoder().encode('loge'))
    view.setUint32(8, entry.length, true)
    view.setBigUint64(16, 5n, true)
    view.setUint32(24, 1, true)
    putGuid(entry, 32, guid)
    view.setBigUint64(48, BigInt(files.file('image').size), true)
    view.setBigUint64(56, BigInt(files.file('image').size), true)
    entry.set(new TextEncoder().encode('desc'), 64)
    entry.set(sector.subarray(4092), 68)
    entry.set(sector.subarray(0, 8), 72)
    view.setBigUint64(80, BigInt(bat), true)
    view.setBigUint64(88, 5n, true)
    entry.set(sector, 4096)
    entry.set(new TextEncoder().encode('data'), 4096)
    view.setUint32(4100, 0, true)
    view.setUint32(8188, 5, true)
    work(entry, view)
    view.setUint32(4, crc32c(entry, 4), true)
    files.file('image').write(mib, entry)
    for (const at of [0x10000, 0x20000]) change(files, at, 4096, (_, bytes) => putGuid(bytes, 48, guid))
    return files
  }

  it('counts, and stays as it is in an image that is read-only', async () => {
    const files = await logged()
    const before = read(files, 0, files.file('image').size)
    expect(await byteAt(files, 5)).toBe(1)
    expect(Buffer.from(before).equals(read(files, 0, files.file('image').size))).toBe(true)
  })

  it('is replayed, and empty then, in one that is written to', async () => {
    const files = await logged()
    const disk = await open(files, {}, { check: true })
    expect(await disk.check({ repair: 'all' })).toMatchObject({ corruptionsFixed: 1 })
    expect(await disk.check({ repair: 'all' })).toMatchObject({ corruptionsFixed: 0 })
    await disk.close()
    expect(read(files, bat, 8)).toEqual(read(files, bat + 8, 8))
    expect([0x10000, 0x20000].some((at) => read(files, at + 48, 16).every((byte) => byte === 0))).toBe(true)
    expect(await byteAt(files, 5)).toBe(1)
  })

  it('makes zeroes', async () => {
    const files = await logged((entry, view) => {
      entry.set(new TextEncoder().encode('zero'), 64)
      view.setBigUint64(72, 4096n, true)
    })
    expect(await byteAt(files, mib)).toBe(0)
  })

  it.each([
    ['of another GUID', (entry: Uint8Array) => putGuid(entry, 32, Guid.bat)],
    ['whose tail is none of it', (_: Uint8Array, view: DataView) => view.setUint32(12, 8192, true)],
    ['longer than the log', (_: Uint8Array, view: DataView) => view.setUint32(8, 2 * mib, true)],
    [
      'with more descriptors than it has room for',
      (_: Uint8Array, view: DataView) => view.setUint32(24, 2 ** 31, true),
    ],
  ])('does not count: an entry %s', async (_, work) => {
    expect(await byteAt(await logged(work), 5)).toBe(0)
  })

  it('does not count where its checksum is wrong', async () => {
    const files = await logged()
    put(files, mib + 4, 0n, 4)
    expect(await byteAt(files, 5)).toBe(0)
  })

  it.each([
    [
      'a sector of another entry',
      (_: Uint8Array, view: DataView) => view.setUint32(8188, 6, true),
      'the log of the image is damaged',
    ],
    [
      'a descriptor of another entry',
      (_: Uint8Array, view: DataView) => view.setBigUint64(88, 6n, true),
      'the log of the image is damaged',
    ],
    [
      'a place that is no sector',
      (_: Uint8Array, view: DataView) => view.setBigUint64(80, 7n, true),
      'the log of the image is damaged',
    ],
    [
      'zeroes that are no sectors',
      (entry: Uint8Array, view: DataView) => {
        entry.set(new TextEncoder().encode('zero'), 64)
        view.setBigUint64(72, 5n, true)
      },
      'the log of the image is damaged',
    ],
    [
      'a file that was longer',
      (_: Uint8Array, view: DataView) => view.setBigUint64(48, 2n ** 40n, true),
      'the image is cut',
    ],
  ] as const)('is refused with %s', async (_, work, text) => {
    const files = await logged(work)
    await expect(open(files, { readOnly: true })).rejects.toThrow(text)
  })
})

describe('a differencing image', () => {
  /** Over `base`, with the sectors 0 and 3 of block 1 its own, and block 3 whole. */
  async function differencing(linkage?: string): Promise<MemoryFiles> {
    const files = new MemoryFiles()
    await image(files, 'dir/base')
    await using graph = new Graph({ drivers: [vhdx, files.driver], onWarning: () => undefined })
    const base = await graph.addUnchecked({ driver: 'vhdx', file: fileOf('dir/base'), readOnly: true })
    const { contentId = '' } = await base.info()
    await base.close()
    await image(files, 'dir/image')
    const file = files.file('dir/image')
    const write = (at: number, value: bigint): void => {
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setBigUint64(0, value, true)
      file.write(at, bytes)
    }
    // The others are those of the image below.
    for (const block of [0, 2, 4, 5, 6, 7]) write(bat + block * 8, 0n)
    const size = file.size
    file.truncate(size + 3 * mib)
    file.write(size, new Uint8Array([0b1001]).slice())
    // The bits of block 1 stand behind those of block 0: 2048 sectors, 256 bytes.
    file.write(size, new Uint8Array(512))
    file.write(size + 256, new Uint8Array([0b1001]))
    file.write(size + mib, new Uint8Array(mib).fill(9))
    write(bat + 8, BigInt(size + mib) + 7n)
    write(bat + 4096 * 8, BigInt(size) + 6n)
    write(metadata + 0x10000, BigInt(mib) + (2n << 32n))
    const text = (value: string): Uint8Array => Uint8Array.from([...value].flatMap((char) => [char.charCodeAt(0), 0]))
    const pairs = [
      ['parent_linkage', `{${linkage ?? contentId}}`],
      ['relative_path', '.\\base'],
    ] as const
    const locator = new Uint8Array(1024)
    const view = new DataView(locator.buffer)
    putGuid(locator, 0, Guid.vhdxParent)
    view.setUint16(18, pairs.length, true)
    let at = 100
    for (const [i, pair] of pairs.entries()) {
      for (const [j, value] of pair.entries()) {
        locator.set(text(value), at)
        view.setUint32(20 + i * 12 + j * 4, at, true)
        view.setUint16(20 + i * 12 + 8 + j * 2, value.length * 2, true)
        at += value.length * 2
      }
    }
    file.write(metadata + 0x10100, locator)
    const item = new Uint8Array(32)
    putGuid(item, 0, Guid.parentLocator)
    const entry = new DataView(item.buffer)
    entry.setUint32(16, 0x10100, true)
    entry.setUint32(20, locator.length, true)
    file.write(metadata + 32 + 5 * 32, item)
    file.write(metadata + 10, new Uint8Array([6]))
    return files
  }

  function openTop(files: MemoryFiles) {
    const graph = new Graph({ drivers: [vhdx, files.driver], references: 'allow', onWarning: () => undefined })
    return graph.open('testkit-file:dir/image', { format: 'vhdx', readOnly: true })
  }

  it('shows its own sectors, and those of the image below', async () => {
    const disk = await openTop(await differencing())
    const at = async (offset: number): Promise<number> => {
      const buf = new Uint8Array(1)
      await disk.read(offset, buf)
      return buf[0] as number
    }
    expect(await Promise.all([0, mib, mib + 511, mib + 512, mib + 1535, mib + 1536, mib + 2048].map(at))).toEqual([
      0, 9, 9, 1, 1, 9, 1,
    ])
    expect(await at(3 * mib)).toBe(3)
    const buf = new Uint8Array(3 * mib)
    await disk.read(mib - 1000, buf)
    expect([buf[999], buf[1000], buf[1512], buf[2536], buf[1000 + mib - 1], buf[1000 + mib]]).toEqual([
      0, 9, 1, 9, 1, 0,
    ])
    expect((await disk.info()).backingFilename).toBe('base')
  })

  it('is refused over another image', async () => {
    const files = await differencing(Guid.bat)
    await expect(openTop(files)).rejects.toThrow('is not the image that this one was made on')
  })

  it('takes writes: blocks that are present in part are written anew as a whole', async () => {
    const files = await differencing()
    const graph = new Graph({ drivers: [vhdx, files.driver], references: 'allow', onWarning: () => undefined })
    const disk = await graph.open('testkit-file:dir/image', { format: 'vhdx' })
    const model = Buffer.alloc(8 * mib)
    await disk.read(0, model)
    for (const [offset, length] of [
      [mib + 512, 512],
      [2 * mib + 5 * 512, 4096],
      [5 * mib - 512, 1024],
    ] as const) {
      await disk.write(offset, new Uint8Array(length).fill(7))
      model.fill(7, offset, offset + length)
    }
    await disk.writeZeroes(3 * mib, mib)
    model.fill(0, 3 * mib, 4 * mib)
    await disk.close()
    const again = await openTop(files)
    const shown = Buffer.alloc(8 * mib)
    await again.read(0, shown)
    expect(shown.equals(model)).toBe(true)
    expect(await again.check()).toMatchObject({ corruptions: 0 })
  })
})
