/** Walks through images that are, or claim to be, very large. */
import { type Disk, Graph } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { Patient } from './damage.ts'
import { Folder, haveQemu, newGraph, run } from './images.ts'

const MiB = 2 ** 20
const TiB = 2 ** 40

/** An image of 1 GiB with 1 MiB of data, on a memoryFiles. */
async function makeFiles(size = 2 ** 30): Promise<MemoryFiles> {
  const memoryFiles = new MemoryFiles()
  memoryFiles.put('image')
  await using graph = new Graph({ drivers: [qcow2, memoryFiles.driver] })
  const file = { driver: 'testkit-file', name: 'image' }
  await graph.createUnchecked({ driver: 'qcow2', size, file })
  const disk = await graph.addUnchecked({ driver: 'qcow2', file })
  await disk.write(0, new Uint8Array(MiB).fill(1))
  return memoryFiles
}

async function open(memoryFiles: MemoryFiles, options: object = {}, check = false): Promise<Disk> {
  const graph = new Graph({ drivers: [qcow2, memoryFiles.driver], onWarning: () => {} })
  const file = { driver: 'testkit-file', name: 'image' }
  return graph.addUnchecked({ driver: 'qcow2', ...options, file }, { check })
}

async function mapOf(disk: Disk, signal?: AbortSignal): Promise<number> {
  let extents = 0
  for await (const _ of disk.extents(signal === undefined ? {} : { signal })) extents++
  return extents
}

const verbs: Readonly<Record<string, (disk: Disk, signal?: AbortSignal) => Promise<unknown>>> = {
  map: mapOf,
  shrink: (disk, signal) => disk.truncate(512 * 1024, {}, signal),
  check: (disk, signal) => disk.check({ repair: 'none', ...(signal === undefined ? {} : { signal }) }),
  'amend of the version': (disk, signal) =>
    disk.amend({ options: { compat: '0.10' }, ...(signal === undefined ? {} : { signal }) }),
  'amend of the refcount width': (disk, signal) =>
    disk.amend({ options: { refcountBits: 64 }, ...(signal === undefined ? {} : { signal }) }),
}

describe('a small image whose file was extended by a hole of 32 TiB', () => {
  for (const [name, run] of Object.entries(verbs)) {
    it(`takes no longer than its clusters do: ${name}`, async () => {
      const memoryFiles = await makeFiles()
      memoryFiles.file('image').truncate(32 * TiB)
      const disk = await open(memoryFiles)
      const started = performance.now()
      await run(disk)
      expect(performance.now() - started).toBeLessThan(5000)
      await disk.graph.close()
    })
  }
})

/** An image of 2 PiB all of whose L1 entries point to one L2 table. */
async function repetitive(): Promise<MemoryFiles> {
  const entries = 2 ** 21
  const memoryFiles = await makeFiles()
  const image = memoryFiles.file('image')
  const l1 = 16 * MiB
  const table = Buffer.alloc(entries * 8)
  const old = Buffer.alloc(8)
  const header = new DataView(new ArrayBuffer(112))
  const bytes = new Uint8Array(header.buffer)
  image.read(0, bytes)
  image.read(Number(header.getBigUint64(40)), old)
  for (let at = 0; at < table.length; at += 8) old.copy(table, at)
  header.setBigUint64(24, BigInt(entries * 2 ** 29))
  header.setUint32(36, entries)
  header.setBigUint64(40, BigInt(l1))
  image.write(0, bytes)
  image.write(l1, table)
  return memoryFiles
}

describe('an image all of whose L2 tables are one', () => {
  for (const [name, run] of Object.entries(verbs)) {
    it(`does not keep everybody else waiting, and hears of an abort: ${name}`, async () => {
      const memoryFiles = await repetitive()
      const disk = await open(memoryFiles, {}, true)
      const controller = new AbortController()
      let turns = 0
      const tick = (): void => {
        if (++turns === 5) controller.abort()
        else setImmediate(tick)
      }
      setImmediate(tick)
      const started = performance.now()
      const failure = await run(disk, controller.signal).catch((error: unknown) => error)
      expect(performance.now() - started).toBeLessThan(5000)
      if (turns >= 5) expect(failure).toMatchObject({ code: 'ECANCELED' })
      await disk.graph.close().catch(() => undefined)
    })
  }
})

describe('an image with persistent bitmaps in a file of 4 TiB', () => {
  for (const [name, at, size] of [
    ['directory', -8, 2 ** 41],
    ['table', 4, 0xffffffff],
  ] as const) {
    it.skipIf(!haveQemu)(`is checked at once where the ${name} claims to be huge`, async () => {
      using folder = new Folder()
      const path = folder.file('a')
      run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', path, '1M')
      run('qemu-img', 'bitmap', '--add', path, 'one')
      const patient = new Patient(path)
      let extension = 112
      while (patient.get(extension, 4) !== 0x23852875n) extension += 8
      const directory = Number(patient.get(extension + 24))
      if (name === 'directory') patient.set(extension + 24 + at, size)
      else patient.set(directory + 8, size, 4)
      patient.cut(2 ** 42)
      await using graph = newGraph()
      const file = { driver: 'file', filename: path, locking: 'off' }
      const disk = await graph.addUnchecked({ driver: 'qcow2', readOnly: true, file }, { check: true })
      const started = performance.now()
      expect((await disk.check({ repair: 'none' })).corruptions).toBe(1)
      expect(performance.now() - started).toBeLessThan(5000)
    })
  }
})
