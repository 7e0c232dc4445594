import { Graph } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { MemoryFiles, type PagedFile } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

type Edit = readonly [offset: number, bytes: Uint8Array]

const u32 = (offset: number, value: number): Edit => [offset, new Uint8Array(new Uint32Array([swap(value)]).buffer)]
const u64 = (offset: number, value: bigint): Edit => {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  return [offset, bytes]
}
const u8 = (offset: number, value: number): Edit => [offset, new Uint8Array([value])]
function swap(value: number): number {
  return ((value & 0xff) << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)
}

async function newMemoryFiles(): Promise<MemoryFiles> {
  const memoryFiles = new MemoryFiles()
  await using graph = new Graph({ drivers: [memoryFiles.driver, qcow2] })
  const file = { driver: 'testkit-file', name: 'image' }
  await graph.createUnchecked({ driver: 'qcow2', file, size: 100 * 1024 * 1024 })
  const disk = await graph.addUnchecked({ driver: 'qcow2', file })
  await disk.write(0, new Uint8Array(1024 * 1024).fill(1))
  await disk.close()
  return memoryFiles
}

function edit(file: PagedFile, edits: readonly Edit[]): void {
  for (const [offset, bytes] of edits) file.write(offset, bytes)
}

async function openEdited(edits: readonly Edit[], options: Record<string, unknown> = {}): Promise<void> {
  const memoryFiles = await newMemoryFiles()
  edit(memoryFiles.byName.get('image')!, edits)
  await using graph = new Graph({ drivers: [memoryFiles.driver, qcow2], onWarning: () => {} })
  await graph.addUnchecked({ driver: 'qcow2', file: { driver: 'testkit-file', name: 'image' }, ...options })
}

/** What the real tools say to the same bytes. */
const refused: readonly (readonly [string, string, readonly Edit[]])[] = [
  ['another magic', 'Image is not in qcow2 format', [u32(0, 0x12345678)]],
  ['version 4', 'Unsupported qcow2 version 4', [u32(4, 4)]],
  ['cluster_bits 8', 'Unsupported cluster size: 2^8', [u32(20, 8)]],
  ['cluster_bits 22', 'Unsupported cluster size: 2^22', [u32(20, 22)]],
  ['cluster_bits 63', 'Unsupported cluster size: 2^63', [u32(20, 63)]],
  ['a header of 100 bytes', 'qcow2 header too short', [u32(100, 100)]],
  ['a huge header', 'qcow2 header exceeds cluster size', [u32(100, 0xffffffff)]],
  ['a header that is longer than a cluster', 'qcow2 header exceeds cluster size', [u32(100, 65544)]],
  ['an unknown incompatible bit', 'Unsupported qcow2 feature(s): Unknown incompatible feature: 20', [u64(72, 32n)]],
  [
    'several unknown incompatible bits',
    'Unsupported qcow2 feature(s): Unknown incompatible feature: 8000000040000000',
    [u64(72, (1n << 63n) | (1n << 30n))],
  ],
  ['an extension that goes on behind its area', 'Header extension too large', [u64(8, 0x74n), u32(0x74, 0x7fffffff)]],
  ['an odd place for a table of no snapshots', 'Snapshot table offset invalid', [u64(64, 0x1234n)]],
  [
    'an unknown bit whose name is the last and is cut short',
    'Unsupported qcow2 feature(s): flux, Unknown incompatible feature: 400',
    [u64(72, 3n << 9n), u32(0x74, 6), [0x78, new TextEncoder().encode('\0\u0009flux\0\0')], u64(0x80, 0n)],
  ],
  [
    'an unknown bit that the second table names',
    'Unsupported qcow2 feature(s): flux',
    [
      u64(72, 1n << 9n),
      u32(0x74, 0),
      u32(0x78, 0x6803f857),
      u32(0x7c, 6),
      [0x80, new TextEncoder().encode('\0\u0009flux\0\0')],
      u64(0x88, 0n),
    ],
  ],
  [
    'an unknown bit with a name',
    'Unsupported qcow2 feature(s): flux?[0m',
    [u64(72, 1n << 9n), u8(0x78 + 1, 9), [0x78 + 2, new TextEncoder().encode('flux\u001b[0m\0\0')]],
  ],
  ['a compression bit without type', 'qcow2: Compression type incompatible feature bit must not be set', [u64(72, 8n)]],
  ['a compression type without bit', 'qcow2: Compression type incompatible feature bit must be set', [u8(104, 1)]],
  ['an unknown compression type', 'qcow2: unknown compression type: 7', [u64(72, 8n), u8(104, 7)]],
  ['refcount_order 7', 'Reference count entry width too large; may not exceed 64 bits', [u32(96, 7)]],
  ['an unknown encryption', 'Unsupported encryption method 3', [u32(32, 3)]],
  ['no refcount table', 'Image does not contain a reference count table', [u32(56, 0)]],
  ['a huge refcount table', 'Reference count table too large', [u32(56, 0x7fffffff)]],
  ['a refcount table just above the cap', 'Reference count table too large', [u32(56, 129)]],
  ['a misaligned refcount table', 'Reference count table offset invalid', [u64(48, 0x1001n)]],
  ['a refcount table beyond everything', 'Reference count table offset invalid', [u64(48, (1n << 64n) - 65536n)]],
  ['too many snapshots', 'Snapshot table too large', [u32(60, 65537)]],
  ['a misaligned snapshot table', 'Snapshot table offset invalid', [u32(60, 1), u64(64, 0x1001n)]],
  ['a huge L1 table', 'Active L1 table too large', [u32(36, 0x7fffffff)]],
  ['an L1 table just above the cap', 'Active L1 table too large', [u32(36, 4194305)]],
  ['a misaligned L1 table', 'Active L1 table offset invalid', [u64(40, 0x1001n)]],
  ['an L1 table that is too small', 'L1 table is too small', [u32(36, 0)]],
  ['a disk of 2^62 bytes', 'Image is too big', [u64(24, 1n << 62n)]],
  ['a disk of 2^63 bytes', 'Image is too big', [u64(24, 1n << 63n)]],
  ['a disk that is larger than its L1 table', 'L1 table is too small', [u64(24, 1n << 43n)]],
  ['a backing file name behind the first cluster', 'Invalid backing file offset', [u64(8, 0xffffffffn), u32(16, 10)]],
  ['a backing file name of 1024 bytes', 'Backing file name too long', [u64(8, 0x400n), u32(16, 1024)]],
  ['a backing file name across the cluster', 'Backing file name too long', [u64(8, 0xfff8n), u32(16, 10)]],
  ['a huge header extension', 'Header extension too large', [u32(0x74, 0xffffffff)]],
  ['a header extension across the cluster', 'Header extension too large', [u32(0x74, 65536 - 0x70)]],
  [
    'a long backing format',
    'ERROR: ext_backing_format: len=16 too large (>=16)',
    [u32(0x70, 0xe2792aca), u32(0x74, 16)],
  ],
  [
    'an encryption header without encryption',
    'CRYPTO header extension only expected with LUKS encryption method',
    [u32(0x70, 0x0537be77), u32(0x74, 16)],
  ],
  ['the corrupt bit', 'qcow2: Image is corrupt; cannot be opened read/write', [u64(72, 2n)]],
  ['encryption, without its key', "Parameter 'encrypt.key-secret' is required for cipher", [u32(32, 1)]],
  ['an external data file without its name', "'data-file' is required for this image", [u64(72, 4n)]],
  [
    'an unknown incompatible bit',
    'Unsupported qcow2 feature(s): Unknown incompatible feature: 8000000000',
    [u64(72, 1n << 39n)],
  ],
]

describe('headers', () => {
  it.each(refused)('an image with %s is refused', async (_, message, edits) => {
    const error: Error = await openEdited(edits).then(
      () => new Error('it was opened'),
      (failure) => failure,
    )
    expect(error.name).toBe('BlockError')
    expect(error.message.slice(error.message.indexOf(': ') + 2)).toBe(message)
  })

  const accepted: readonly (readonly [string, readonly Edit[], Record<string, unknown>?])[] = [
    ['an unknown compatible bit', [u64(80, 1n << 40n)]],
    ['an unknown header extension', [u32(0x70, 0x12345678)]],
    ['the corrupt bit, read-only', [u64(72, 2n)], { readOnly: true }],
    ['the largest L1 table', [u32(36, 4194304)], { readOnly: true }],
    ['a header of a whole cluster', [u32(100, 65536)], { readOnly: true }],
    ['an odd size', [u64(24, 1000n)]],
    ['no size', [u64(24, 0n)]],
  ]
  it.each(accepted)('an image with %s is opened', async (_, edits, options) => {
    await openEdited(edits as readonly Edit[], options as Record<string, unknown> | undefined)
  })

  it('a file that is too short is refused', async () => {
    for (const [size, message] of [
      [0, 'Image is not in qcow2 format'],
      [60, 'qcow2 header too short'],
      [100, 'qcow2 header too short'],
    ] as const) {
      const memoryFiles = await newMemoryFiles()
      memoryFiles.byName.get('image')!.truncate(size)
      await using graph = new Graph({ drivers: [memoryFiles.driver, qcow2] })
      const opened = graph.addUnchecked({ driver: 'qcow2', file: { driver: 'testkit-file', name: 'image' } })
      await expect(opened).rejects.toThrow(message)
    }
  })

  it('unknown extensions, compatible bits and header fields survive a change of the backing file', async () => {
    const memoryFiles = await newMemoryFiles()
    const file = memoryFiles.byName.get('image')!
    edit(file, [u32(0x70, 0x12345678), u64(80, 1n << 40n)])
    const extension = new Uint8Array(0x180)
    file.read(0x78, extension)
    await using graph = new Graph({ drivers: [memoryFiles.driver, qcow2] })
    const disk = await graph.addUnchecked({ driver: 'qcow2', file: { driver: 'testkit-file', name: 'image' } })
    await disk.node.image.changeBacking?.('base.raw', 'raw')
    await disk.close()
    const header = new Uint8Array(65536)
    file.read(0, header)
    const view = new DataView(header.buffer)
    expect(view.getBigUint64(80)).toBe(1n << 40n)
    expect(view.getUint32(112)).toBe(0xe2792aca)
    expect(new TextDecoder().decode(header.subarray(120, 123))).toBe('raw')
    expect(view.getUint32(128)).toBe(0x12345678)
    expect(header.subarray(136, 136 + 0x180)).toEqual(extension)
    const name = Number(view.getBigUint64(8))
    expect(new TextDecoder().decode(header.subarray(name, name + view.getUint32(16)))).toBe('base.raw')
  })

  it('autoclear bits are cleared by the first read-write open, before anything else is written', async () => {
    const memoryFiles = await newMemoryFiles()
    const file = memoryFiles.byName.get('image')!
    edit(file, [u64(88, 1n << 33n)])
    const autoclear = () => {
      const bytes = new Uint8Array(8)
      file.read(88, bytes)
      return new DataView(bytes.buffer).getBigUint64(0)
    }
    await using graph = new Graph({ drivers: [memoryFiles.driver, qcow2] })
    const storage = { driver: 'testkit-file', name: 'image' }
    const reader = await graph.addUnchecked({ driver: 'qcow2', readOnly: true, file: storage })
    await reader.close()
    expect(autoclear()).toBe(1n << 33n)
    const writer = await graph.addUnchecked({ driver: 'qcow2', file: storage })
    expect(autoclear()).toBe(0n)
    await writer.close()
  })

  it('autoclear bits that nobody here knows are cleared by a repair, those of bitmaps are not', async () => {
    const memoryFiles = await newMemoryFiles()
    const file = memoryFiles.byName.get('image')!
    edit(file, [u64(88, (1n << 63n) | 1n)])
    await using graph = new Graph({ drivers: [memoryFiles.driver, qcow2] })
    const storage = { driver: 'testkit-file', name: 'image' }
    const disk = await graph.addUnchecked({ driver: 'qcow2', file: storage }, { check: true })
    const bits = () => {
      const bytes = new Uint8Array(8)
      file.read(88, bytes)
      return new DataView(bytes.buffer).getBigUint64(0)
    }
    await disk.check({ repair: 'none' })
    expect(bits()).toBe((1n << 63n) | 1n)
    await disk.check({ repair: 'leaks' })
    expect(bits()).toBe(1n)
    await disk.close()
  })

  it('an image without a refcount table can be checked and repaired, and not be written to before', async () => {
    const memoryFiles = await newMemoryFiles()
    edit(memoryFiles.byName.get('image')!, [u32(56, 0)])
    await using graph = new Graph({ drivers: [memoryFiles.driver, qcow2], onWarning: () => {} })
    const storage = { driver: 'testkit-file', name: 'image' }
    await expect(graph.addUnchecked({ driver: 'qcow2', file: storage })).rejects.toThrow('reference count table')
    const disk = await graph.addUnchecked({ driver: 'qcow2', file: storage }, { check: true })
    const write = () => disk.write(50 * 1024 * 1024, new Uint8Array(65536).fill(2))
    await expect(write()).rejects.toThrow('reference count table')
    expect((await disk.check({ repair: 'none' })).corruptions).toBeGreaterThan(0)
    expect(await disk.check({ repair: 'all' })).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 })
    await write()
    await disk.flush()
    expect(await disk.check({ repair: 'none' })).toMatchObject({ corruptions: 0, leaks: 0 })
    const head = new Uint8Array(512)
    await disk.read(0, head)
    expect(head).toEqual(new Uint8Array(512).fill(1))
    await disk.close()
  })

  it('looking at an image with a data file tells so, and reads nothing of it', async () => {
    const memoryFiles = await newMemoryFiles()
    edit(memoryFiles.byName.get('image')!, [u64(72, 4n)])
    await using graph = new Graph({ drivers: [memoryFiles.driver, qcow2] })
    const definition = { driver: 'qcow2', readOnly: true, file: { driver: 'testkit-file', name: 'image' } }
    const disk = await graph.addUnchecked(definition, { inspect: true })
    expect(await disk.node.info()).toMatchObject({ specific: { type: 'qcow2', data: { dataFileRaw: false } } })
    await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({ name: 'BlockError' })
  })
})
