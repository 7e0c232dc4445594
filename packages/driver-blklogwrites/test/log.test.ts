import { readFile, writeFile } from 'node:fs/promises'
import { Flag, Graph } from '@diskgraph/core'
import { blklogwrites } from '@diskgraph/driver-blklogwrites'
import { file } from '@diskgraph/driver-file'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { raw } from '@diskgraph/driver-raw'
import { Faults, peer, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const size = 2 ** 20

/** Reads a log: its entries as `flags offset+length`, with the bytes that data is all of. */
function entriesOf(bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const number = (at: number): number => Number(view.getBigUint64(at, true))
  expect(view.getBigUint64(0, true)).toBe(0x6a736677736872n)
  expect(number(8)).toBe(1)
  const sector = view.getUint32(24, true)
  const entries: string[] = []
  let at = sector
  for (let i = 0; i < number(16); i++) {
    const [offset, length, flags] = [number(at) * sector, number(at + 8) * sector, number(at + 16)]
    at += sector
    const data = (flags & 4) === 0 ? bytes.subarray(at, at + length) : new Uint8Array(0)
    at += data.length
    entries.push(`${flags} ${offset}+${length} ${[...new Set(data)].join()}`.trim())
  }
  return entries
}

async function open(options: object = {}, log = new MemoryStorage(0), faults = new Faults()) {
  const storages = new Map([
    ['image', new MemoryStorage(size)],
    ['log', log],
  ])
  const graph = new Graph({ drivers: [blklogwrites, memoryDriver(storages), faults.driver] })
  const disk = await graph.addUnchecked({
    driver: 'blklogwrites',
    discard: 'unmap',
    file: { driver: 'memory', name: 'image' },
    log: { driver: faults.driver.name, file: { driver: 'memory', name: 'log' } },
    ...options,
  })
  const entries = (): string[] => {
    const bytes = new Uint8Array(log.size)
    log.read(0, bytes)
    return entriesOf(bytes)
  }
  return { graph, disk, log, entries, faults }
}

describe('blklogwrites', () => {
  it('writes every change down in its order', async () => {
    const { graph, disk, entries } = await open()
    await disk.write(512, new Uint8Array(512).fill(1))
    await disk.write(4096, new Uint8Array(1024).fill(2), Flag.Fua)
    await disk.writeZeroes(8192, 4096)
    await disk.discard(65536, 65536)
    await disk.flush()
    const all = ['0 512+512 1', '2 4096+1024 2', '0 8192+4096 0', '4 65536+65536', '1 0+0']
    expect(entries()).toEqual(all)
    await disk.write(100, new Uint8Array(10).fill(3))
    expect(entries()).toEqual(all)
    await graph.close()
    expect(entries().slice(0, 6)).toEqual([...all, '0 0+512 0,3'])
  })

  it('keeps the data of writes that are under way at once apart', async () => {
    const { graph, disk, entries } = await open()
    await Promise.all(Array.from({ length: 50 }, (_, i) => disk.write(i * 1024, new Uint8Array(1024).fill(i + 1))))
    await graph.close()
    const writes = entries().filter((entry) => entry.startsWith('0 '))
    expect(writes).toEqual(Array.from({ length: 50 }, (_, i) => `0 ${i * 1024}+1024 ${i + 1}`))
  })

  it('goes on behind the log that is there, in its sectors', async () => {
    const log = new MemoryStorage(0)
    const first = await open({ logSectorSize: 4096 }, log)
    await first.disk.write(0, new Uint8Array(4096).fill(1))
    await first.graph.close()
    const before = first.entries()
    const second = await open({ logAppend: true }, log)
    expect(second.disk.node.limits.alignment).toBe(4096)
    await second.disk.write(4096, new Uint8Array(4096).fill(2))
    await second.graph.close()
    expect(second.entries().slice(0, before.length + 1)).toEqual([...before, '0 4096+4096 2'])
  })

  it('counts entries without a flush when there are many', async () => {
    const { graph, disk, entries } = await open({ logSuperUpdateInterval: 3 })
    for (let i = 0; i < 7; i++) await disk.write(i * 512, new Uint8Array(512).fill(9))
    expect(entries().length).toBe(6)
    await graph.close()
  })

  it('leaves the log alone when nothing is written', async () => {
    const log = new MemoryStorage(100)
    const { graph, disk } = await open({ readOnly: true }, log)
    await disk.read(0, new Uint8Array(512))
    await graph.close()
    expect(log.size).toBe(100)
  })

  it('never lets an older count of entries come last', async () => {
    const { graph, disk, entries, faults } = await open({ logSuperUpdateInterval: 2 })
    await disk.write(0, new Uint8Array(512).fill(1))
    // The entry of this write, and the superblock that follows it, are slow.
    faults.hold('write')
    const slow = disk.write(512, new Uint8Array(512).fill(2))
    const flush = disk.flush()
    while (faults.release() > 0) await new Promise((resolve) => setTimeout(resolve, 1))
    await Promise.all([slow, flush])
    expect(entries().length).toBe(3)
    await graph.close()
  })

  it('fails a write that cannot be written down', async () => {
    const { graph, disk, faults } = await open()
    faults.arm({ nth: 1, code: 'ENOSPC', kinds: ['write'] })
    await expect(disk.write(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'ENOSPC' })
    await graph.close()
  })

  it.each([
    [{ logSectorSize: 100 }, 'Invalid log sector size 100'],
    [{ logSectorSize: 2 ** 24 }, 'Invalid log sector size 16777216'],
    [{ logAppend: true, logSectorSize: 512 }, 'log-append and log-sector-size are mutually exclusive'],
    [{ logSuperUpdateInterval: 0 }, 'Invalid log superblock update interval 0'],
    [{ logAppend: true }, 'Invalid log superblock magic'],
  ])('refuses %o', async (options, message) => {
    await expect(open(options)).rejects.toThrow(message)
  })

  it('refuses a log whose entries pass its end', async () => {
    const log = new MemoryStorage(1024)
    const head = new DataView(new ArrayBuffer(28))
    head.setBigUint64(0, 0x6a736677736872n, true)
    head.setBigUint64(8, 1n, true)
    head.setBigUint64(16, 2n ** 62n, true)
    head.setUint32(24, 512, true)
    log.write(0, new Uint8Array(head.buffer))
    await expect(open({ logAppend: true }, log)).rejects.toThrow('the log ends before entry')
  })
})

peer('qemu-io', { describe, it }).it('writes what the real one writes', async () => {
  await using folder = await TempFolder.make()
  const [image, ours, theirs] = [folder.file('image'), folder.file('ours'), folder.file('theirs')]
  for (const path of [ours, theirs]) await writeFile(path, '')
  await writeFile(image, new Uint8Array(size))
  const commands = [
    'write -P 1 512 512',
    'write -P 2 4k 1k',
    'write -z 8k 4k',
    'discard 64k 64k',
    'flush',
    'write -P 3 100 10',
  ]
  const options = `driver=blklogwrites,file.driver=raw,file.file.filename=${image},log.filename=${theirs}`
  await runTool('qemu-io', [
    '-t',
    'writeback',
    '--image-opts',
    ...commands.flatMap((command) => ['-c', command]),
    options,
  ])
  const graph = new Graph({ drivers: [blklogwrites, file, raw] })
  const disk = await graph.add({
    driver: 'blklogwrites',
    discard: 'unmap',
    file: { driver: 'raw', file: { driver: 'file', filename: image } },
    log: { driver: 'file', filename: ours },
  })
  await disk.write(512, new Uint8Array(512).fill(1))
  await disk.write(4096, new Uint8Array(1024).fill(2))
  await disk.writeZeroes(8192, 4096)
  await disk.discard(65536, 65536)
  await disk.flush()
  await disk.write(100, new Uint8Array(10).fill(3))
  await disk.flush()
  await graph.close()
  const real = entriesOf(await readFile(theirs))
  expect(entriesOf(await readFile(ours)).slice(0, real.length)).toEqual(real)
  expect(real.length).toBeGreaterThan(6)
})
