import { readFileSync, statSync } from 'node:fs'
import { type DirtyBitmap, type Disk, type Graph, Permission } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { Patient } from '../damage.ts'
import { create, Folder, haveQemu, newGraph, open, qemuCheck, run } from '../images.ts'

const MiB = 2 ** 20
const first = 65536

/** A graph with an image that stores the bitmap 'b', in which the second MiB is marked. */
async function recorded(folder: Folder, options: Record<string, unknown> = {}): Promise<string> {
  const name = folder.file('a.qcow2')
  await using graph = newGraph()
  await create(graph, name, { size: 64 * MiB, ...options })
  const disk = await open(graph, name)
  await addBitmap(graph, disk, 'b')
  await disk.write(MiB, new Uint8Array(MiB).fill(1))
  return name
}

function addBitmap(graph: Graph, disk: Disk, name: string, granularity = first): Promise<DirtyBitmap> {
  return graph.change(async (change) => {
    await change.drain(disk.node)
    const bitmap = disk.node.addDirtyBitmap(granularity, name)
    await disk.node.image.bitmaps?.add(bitmap)
    return bitmap
  })
}

function runs(bitmap: DirtyBitmap | undefined): readonly { offset: number; length: number }[] {
  const found = []
  for (let run = bitmap?.nextDirty(0); run; run = bitmap?.nextDirty(run.offset + run.length)) found.push(run)
  return found
}

/** Where the bitmap directory stands. */
function directoryOf(path: string): number {
  const bytes = readFileSync(path)
  let at = bytes.readUInt32BE(100)
  while (bytes.readUInt32BE(at) !== 0x23852875) at += 8 + Math.ceil(bytes.readUInt32BE(at + 4) / 8) * 8
  return Number(bytes.readBigUInt64BE(at + 24))
}

describe('persistent bitmaps', () => {
  it('are there again with what they recorded when the image is opened', async () => {
    using folder = new Folder()
    const name = await recorded(folder)
    await using graph = newGraph()
    const disk = await open(graph, name, { readOnly: true })
    const [bitmap] = disk.node.dirtyBitmaps
    expect(bitmap).toMatchObject({ name: 'b', granularity: first, enabled: true, persistent: true })
    expect(runs(bitmap)).toEqual([{ offset: MiB, length: MiB }])
    expect((await disk.info()).specific?.data.bitmaps).toEqual([{ flags: ['auto'], name: 'b', granularity: first }])
  })

  it('are marked as in use before the first write, and are not trusted after a crash', async () => {
    using folder = new Folder()
    const name = await recorded(folder)
    await using graph = newGraph()
    const disk = await open(graph, name)
    run('cp', name, folder.file('crashed'))
    await disk.close()
    const crashed = await open(graph, folder.file('crashed'))
    expect(crashed.node.dirtyBitmaps[0]).toMatchObject({ name: 'b', inconsistent: true, enabled: false })
    await graph.change(async () => {
      await crashed.node.image.bitmaps?.remove(crashed.node.dirtyBitmaps[0] as DirtyBitmap)
    })
    await crashed.close()
    const again = await open(graph, folder.file('crashed'))
    expect(again.node.dirtyBitmaps).toEqual([])
  })

  it('take no other clusters when nothing was recorded', async () => {
    using folder = new Folder()
    const name = await recorded(folder)
    const before = readFileSync(name)
    await using graph = newGraph()
    await (await open(graph, name)).close()
    expect(Buffer.compare(readFileSync(name), before)).toBe(0)
  })

  it('are stored when the image is made read-only, and are marked again when it is writable', async () => {
    using folder = new Folder()
    const name = await recorded(folder)
    const flags = (): number => Number(new Patient(name).get(directoryOf(name) + 12, 4))
    await using graph = newGraph()
    const disk = await open(graph, name)
    const { node } = disk
    await disk.write(4 * MiB, new Uint8Array(512).fill(1))
    expect(flags()).toBe(3)
    const keeper = await graph.attach(node, { permissions: 0, shared: Permission.All })
    await disk.close()
    await graph.reopen(node, { readOnly: true })
    expect(flags()).toBe(2)
    await graph.reopen(node, { readOnly: false })
    const writer = await graph.attach(node, { permissions: Permission.Write, shared: Permission.All })
    await writer.write(8 * MiB, new Uint8Array(512).fill(1))
    expect(flags()).toBe(3)
    await writer.close()
    await keeper.close()
    await using second = newGraph()
    const [bitmap] = (await open(second, name)).node.dirtyBitmaps
    expect(runs(bitmap).map(({ offset }) => offset / MiB)).toEqual([1, 4, 8])
  })

  it('are gone, and their clusters leaked, when a program without knowledge of them has written', async () => {
    using folder = new Folder()
    const name = await recorded(folder)
    new Patient(name).set(88, 0)
    const warnings: string[] = []
    await using graph = newGraph(warnings)
    const disk = await open(graph, name)
    expect(disk.node.dirtyBitmaps).toEqual([])
    expect(warnings.join()).toMatch(/^a program lacking bitmap support modified this file/)
    expect(await disk.check({ repair: 'leaks' })).toMatchObject({ leaksFixed: 3, leaks: 0, corruptions: 0 })
    await disk.close()
    if (haveQemu) expect(qemuCheck(name)).toMatchObject({ code: 0 })
  })

  it('keep extra data that may be ignored, and cannot be used when it may not', async () => {
    using folder = new Folder()
    for (const [flag, usable] of [
      [4, true],
      [0, false],
    ] as const) {
      const name = await recorded(folder)
      const image = new Patient(name)
      const directory = directoryOf(name)
      // The entry has 24 bytes, the name one, and the padding seven: all of these are 8 bytes of extra data, and the name.
      image.set(directory + 12, 2 | flag, 4)
      image.set(directory + 20, 8, 4)
      image.set(directory + 24, 0x1122334455667788n)
      image.set(directory + 32, 0x62, 1)
      image.set(directory + 33, 0, 7)
      const at = readFileSync(name).indexOf(Buffer.from('0000000000000020', 'hex'), 112)
      image.set(at, 40)
      await using graph = newGraph()
      const disk = await open(graph, name)
      expect(disk.node.dirtyBitmaps[0]).toMatchObject({ name: 'b', inconsistent: !usable })
      await disk.write(0, new Uint8Array(512).fill(2))
      await disk.close()
      const stored = directoryOf(name)
      expect(image.get(stored + 24)).toBe(0x1122334455667788n)
      expect(image.get(stored + 12, 4)).toBe(usable ? 6n : 3n)
    }
  })

  it('grow and shrink with the disk', async () => {
    using folder = new Folder()
    const name = await recorded(folder, { clusterSize: 512 })
    for (const size of [640 * MiB, MiB + 512]) {
      await using graph = newGraph()
      const disk = await open(graph, name)
      await disk.truncate(size)
    }
    await using graph = newGraph()
    const disk = await open(graph, name)
    expect(runs(disk.node.dirtyBitmaps[0])).toEqual([{ offset: MiB, length: 512 }])
    expect(await disk.check({})).toMatchObject({ corruptions: 0, leaks: 0 })
  })

  it('are dropped, and leave no leaks, when the image becomes one of version 2', async () => {
    using folder = new Folder()
    const name = await recorded(folder)
    await using graph = newGraph()
    const disk = await open(graph, name)
    await disk.amend({ options: { compat: '0.10' } })
    await expect(addBitmap(graph, disk, 'c')).rejects.toThrow('Cannot store dirty bitmaps in qcow2 v2 files')
    expect(await disk.check({})).toMatchObject({ corruptions: 0, leaks: 0 })
    await disk.close()
    if (haveQemu) expect(run('qemu-img', 'check', name)).toMatch('No errors')
  })

  it('stand in the way of applying a snapshot', async () => {
    using folder = new Folder()
    await using graph = newGraph()
    const disk = await open(graph, await recorded(folder))
    await disk.snapshots.create({ name: 's' })
    await expect(disk.snapshots.apply('s')).rejects.toThrow('Device has active dirty bitmaps')
  })

  it('are refused where there are too many bits', async () => {
    using folder = new Folder()
    await using graph = newGraph()
    await create(graph, folder.file('big'), { size: 8 * 2 ** 40 })
    const disk = await open(graph, folder.file('big'))
    await expect(addBitmap(graph, disk, 'fine', 512)).rejects.toThrow('Use larger granularity')
  })

  it('of which all bits are set take a table and no clusters of bits', async () => {
    using folder = new Folder()
    const name = folder.file('a.qcow2')
    await using graph = newGraph()
    await create(graph, name, { size: 64 * MiB, clusterSize: 512 })
    const disk = await open(graph, name)
    const bitmap = await addBitmap(graph, disk, 'b', 512)
    bitmap.set(0, 64 * MiB)
    await disk.close()
    expect(statSync(name).size).toBeLessThan(20480)
    const again = await open(graph, name, { readOnly: true })
    expect(again.node.dirtyBitmaps[0]?.dirtyBytes).toBe(64 * MiB)
  })
})

describe('damaged bitmaps', () => {
  const entry = [
    ['a table that is not aligned', 0, 8, 0x1001, "Bitmap 'b' doesn't satisfy the constraints"],
    ['no table', 0, 8, 0, "Bitmap 'b' doesn't satisfy the constraints"],
    ['an empty table', 8, 4, 0, "Bitmap 'b' doesn't satisfy the constraints"],
    ['a huge table', 8, 4, 0x9000000, "Bitmap 'b' doesn't satisfy the constraints"],
    ['a table of another length', 8, 4, 2, "Could not read bitmap 'b' from image: Invalid argument"],
    ['reserved flags', 12, 4, 8, "Bitmap 'b' doesn't satisfy the constraints"],
    ['an unknown type', 16, 1, 2, "Bitmap 'b' doesn't satisfy the constraints"],
    ['a granularity of 256', 17, 1, 8, "Bitmap 'b' doesn't satisfy the constraints"],
    ['a granularity of 2^32', 17, 1, 32, "Bitmap 'b' doesn't satisfy the constraints"],
    ['no name', 18, 2, 0, "Bitmap '' doesn't satisfy the constraints"],
    ['a name behind the directory', 18, 2, 1000, 'Broken bitmap directory'],
    ['extra data behind the directory', 20, 4, 0xfffffff8, 'Broken bitmap directory'],
  ] as const

  it.each(entry)('with %s are refused', async (_, field, bytes, value, message) => {
    using folder = new Folder()
    const name = await recorded(folder)
    new Patient(name).set(directoryOf(name) + field, value, bytes)
    await using graph = newGraph()
    await expect(open(graph, name)).rejects.toThrow(message)
  })

  const extension = [
    ['no bitmaps', 0, 4, 0, 'found bitmaps extension with zero bitmaps'],
    ['fewer bitmaps than counted', 0, 4, 3, 'Less bitmaps found than specified in header extension'],
    ['65,536 bitmaps', 0, 4, 65536, 'Image has 65536 bitmaps, exceeding the QEMU supported maximum of 65535'],
    ['a reserved field', 4, 4, 1, 'bitmaps_ext: Reserved field is not zero'],
    ['an empty directory', 8, 8, 0, 'Requested bitmap directory size is zero'],
    ['a huge directory', 8, 8, 0x5000000, 'bitmap directory size (83886080) exceeds the maximum supported size'],
    ['a directory that is not aligned', 16, 8, 0x10001, 'bitmaps_ext: invalid bitmap directory offset'],
    ['a directory behind the file', 16, 8, 0x10000000, 'Broken bitmap directory'],
  ] as const

  it.each(extension)('with %s are refused', async (_, field, bytes, value, message) => {
    using folder = new Folder()
    const name = await recorded(folder)
    const at = readFileSync(name).indexOf(Buffer.from('2385287500000018', 'hex')) + 8
    new Patient(name).set(at + field, value, bytes)
    await using graph = newGraph()
    await expect(open(graph, name)).rejects.toThrow(message)
  })

  it.each([
    ['reserved bits', 0x100],
    ['both an offset and the mark of ones', 0x50001],
    ['an offset that is not aligned', 0x50200],
  ])('with %s in a table are refused', async (_, value) => {
    using folder = new Folder()
    const name = await recorded(folder)
    const image = new Patient(name)
    image.set(Number(image.get(directoryOf(name))), value)
    await using graph = newGraph()
    await expect(open(graph, name)).rejects.toThrow("Could not read bitmap 'b' from image: Invalid argument")
  })

  it('that share their clusters are refused before they fill the memory', async () => {
    using folder = new Folder()
    const name = folder.file('a.qcow2')
    await using graph = newGraph()
    await create(graph, name, { size: 2 ** 40 })
    const disk = await open(graph, name)
    const bitmap = await addBitmap(graph, disk, 'b', 512)
    bitmap.set(0, 512)
    await disk.close()
    const image = new Patient(name)
    const table = Number(image.get(directoryOf(name)))
    for (let i = 1; i < 4096; i++) image.set(table + i * 8, image.get(table))
    await expect(open(graph, name)).rejects.toThrow('they share clusters')
  })
})

describe('a check of damaged bitmaps', () => {
  async function checked(name: string, repair: 'none' | 'all') {
    await using graph = newGraph()
    const file = { driver: 'file', filename: name, locking: 'off' }
    const disk = await graph.addUnchecked({ driver: 'qcow2', readOnly: repair === 'none', file }, { check: true })
    const lines: string[] = []
    const result = await disk.check({ repair, onFinding: (_, text) => lines.push(text) })
    return { ...result, text: lines.join('; ') }
  }

  it.each([
    ['a directory that is none', 18, 2, 1000, 'ERROR Broken bitmap directory', 'Removing all bitmaps'],
    ['a table of another length', 8, 4, 2, "ERROR bitmap 'b' has a table of 2 entries, not 1", "Removing bitmap 'b'"],
  ])('finds %s, and takes it away', async (_, field, bytes, value, finding, repair) => {
    using folder = new Folder()
    const name = await recorded(folder)
    new Patient(name).set(directoryOf(name) + field, value, bytes)
    const found = await checked(name, 'none')
    expect(found.corruptions).toBeGreaterThan(0)
    expect(found.text).toContain(finding)
    const repaired = await checked(name, 'all')
    expect(repaired.text).toContain(repair)
    expect(repaired).toMatchObject({ corruptions: 0, leaks: 0 })
    expect(await checked(name, 'none')).toMatchObject({ corruptions: 0, leaks: 0, text: '' })
    if (haveQemu) expect(qemuCheck(name)).toMatchObject({ code: 0 })
  })

  it.each([
    ['reserved bits', 0x100],
    ['an offset that is not aligned', 0x50200],
  ])('finds %s in a table, and takes the bitmap away', async (_, value) => {
    using folder = new Folder()
    const name = await recorded(folder)
    const image = new Patient(name)
    image.set(Number(image.get(directoryOf(name))), value)
    expect((await checked(name, 'none')).text).toContain("ERROR bitmap 'b' has")
    expect(await checked(name, 'all')).toMatchObject({ corruptions: 0, leaks: 0 })
    expect(await checked(name, 'none')).toMatchObject({ corruptions: 0, leaks: 0, text: '' })
    if (haveQemu) expect(qemuCheck(name)).toMatchObject({ code: 0 })
  })
})
