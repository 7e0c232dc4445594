/** What is read of damaged images, and what is told of the rest. */
import { type Disk, Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import { type MissingRange, type RescueResult, rescue } from '@diskgraph/jobs'
import { expect, it } from 'vitest'

const cluster = 65536
const size = 16 * cluster
const bytes = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

interface Rescued {
  readonly content: Uint8Array
  readonly missing: readonly MissingRange[]
  readonly result: RescueResult
}

/** Makes an image of which clusters 0 to 3 hold 1 to 4, and cluster 5 zeroes, and rescues what `damage` leaves of it. */
async function rescued(
  damage: (storage: {
    read(at: number): Promise<number>
    write(at: number, value: bigint): Promise<void>
    cut(at: number): Promise<void>
  }) => Promise<void>,
  pattern = 0,
): Promise<Rescued> {
  await using graph = new Graph({ drivers: [memory, raw, qcow2] })
  const file = { driver: 'memory', name: 'image' }
  await graph.createUnchecked({ driver: 'qcow2', file, size })
  const image = await graph.addUnchecked({ driver: 'qcow2', file })
  for (let i = 0; i < 4; i++) await image.write(i * cluster, bytes(cluster, i + 1))
  await image.writeZeroes(5 * cluster, cluster)
  await image.close()
  const storage = await graph.addUnchecked({ driver: 'memory', name: 'image' })
  await damage({
    read: async (at) => {
      const field = bytes(8, 0)
      await storage.read(at, field)
      return Number(new DataView(field.buffer).getBigUint64(0) & 0xfffffffffffe00n)
    },
    write: async (at, value) => {
      const field = bytes(8, 0)
      new DataView(field.buffer).setBigUint64(0, value)
      await storage.write(at, field)
    },
    cut: (at) => storage.truncate(at),
  })
  await storage.close()
  const source = await graph.addUnchecked({ driver: 'qcow2', file, readOnly: true }, { check: true })
  await graph.createUnchecked({ driver: 'memory', name: 'target', size })
  const target = await graph.addUnchecked({ driver: 'memory', name: 'target' })
  await target.write(0, bytes(size, 0xee))
  const missing: MissingRange[] = []
  const result = await rescue(source, target, { pattern, onMissing: (range) => missing.push(range) })
  const content = bytes(size, 0)
  await target.read(0, content)
  return { content, missing, result }
}

/** Rescues an image to nowhere. */
async function rescuedFrom(graph: Graph, definition: Readonly<Record<string, unknown>>): Promise<RescueResult> {
  await using source = await graph.addUnchecked(definition)
  return await rescue(source, { write: async () => undefined, writeZeroes: async () => undefined })
}

it('everything of a disk that is whole is read', async () => {
  const { content, missing, result } = await rescued(async () => undefined)
  expect(missing).toEqual([])
  expect(result).toEqual({ data: 4 * cluster, zero: 12 * cluster, missing: 0 })
  expect([0, 1, 2, 3, 4].map((i) => content[i * cluster])).toEqual([1, 2, 3, 4, 0])
})

it('clusters behind the end of a cut file are missing, and get the pattern', async () => {
  const { content, missing, result } = await rescued(async ({ read, cut }) => {
    const l2 = await read(await read(40))
    await cut((await read(l2 + 16)) + 10)
  }, 0xaa)
  expect(missing).toMatchObject([
    { offset: 2 * cluster + 10, length: 2 * cluster - 10, reason: 'it stood behind the end of the file' },
  ])
  expect(result.missing).toBe(2 * cluster - 10)
  expect([9, 10, cluster, 2 * cluster].map((at) => content[2 * cluster + at])).toEqual([3, 0xaa, 0xaa, 0])
})

it('a small write into a large cluster leaves a file that is not cut', async () => {
  await using graph = new Graph({ drivers: [memory, raw, qcow2] })
  const file = { driver: 'memory', name: 'image' }
  await graph.createUnchecked({ driver: 'qcow2', file, size, clusterSize: 2 ** 20 })
  const image = await graph.addUnchecked({ driver: 'qcow2', file })
  await image.write(4096, bytes(4096, 1))
  await image.close()
  expect((await rescuedFrom(graph, { driver: 'qcow2', file, readOnly: true })).missing).toBe(0)
})

it('what an external data file has lost at its end is missing, to the byte', async () => {
  await using graph = new Graph({ drivers: [memory, raw, qcow2] })
  const file = { driver: 'memory', name: 'image' }
  const dataFile = { driver: 'memory', name: 'data' }
  await graph.createUnchecked({ driver: 'qcow2', file, dataFile, size })
  const image = await graph.addUnchecked({ driver: 'qcow2', file, dataFile })
  await image.write(0, bytes(size, 1))
  await image.close()
  const whole = await rescuedFrom(graph, { driver: 'qcow2', file, dataFile, readOnly: true })
  expect(whole).toEqual({ data: size, zero: 0, missing: 0 })
  const storage = await graph.addUnchecked(dataFile)
  await storage.truncate(100_001)
  await storage.close()
  const cut = await rescuedFrom(graph, { driver: 'qcow2', file, dataFile, readOnly: true })
  expect(cut).toEqual({ data: 100_001, zero: 0, missing: size - 100_001 })
})

it('the rest of the last sector of a raw file is not missing', async () => {
  await using graph = new Graph({ drivers: [memory, raw] })
  await graph.createUnchecked({ driver: 'memory', name: 'a', size: 1000 })
  const storage = await graph.addUnchecked({ driver: 'memory', name: 'a' })
  await storage.write(0, bytes(1000, 7))
  await storage.close()
  const result = await rescuedFrom(graph, { driver: 'raw', file: { driver: 'memory', name: 'a' }, readOnly: true })
  expect(result).toMatchObject({ missing: 0 })
})

it('what a lost L2 table and a lost L1 table map is missing', async () => {
  const table = await rescued(async ({ read, cut }) => cut((await read(await read(40))) + 16))
  expect(table.missing).toMatchObject([
    { offset: 0, length: 2 * cluster, reason: 'it stood behind the end of the file' },
    { offset: 2 * cluster, length: 14 * cluster, reason: 'what maps it is lost' },
  ])
  const root = await rescued(async ({ read, cut }) => cut(await read(40)))
  expect(root.missing).toMatchObject([{ offset: 0, length: size, reason: 'what maps it is lost' }])
})

it('a refcount table that is lost keeps nothing from being read', async () => {
  const { missing, content } = await rescued(({ write }) => write(48, 0x7fffffff0000n))
  expect(missing).toEqual([])
  expect(content[cluster]).toBe(2)
})

it('an entry that contradicts the format costs its cluster alone', async () => {
  const { missing, content } = await rescued(async ({ read, write }) => {
    await write((await read(await read(40))) + 8, 0x8000000000050200n)
  })
  expect(missing).toMatchObject([{ offset: cluster, length: cluster, reason: expect.stringContaining('unaligned') }])
  expect([0, 1, 2].map((i) => content[i * cluster])).toEqual([1, 0, 3])
})

it('pieces of 4 KiB that cannot be read are missing, and each is read once', async () => {
  let reads = 0
  const broken = {
    ...raw,
    open: async (context: Parameters<typeof raw.open>[0]) => {
      const image = await raw.open(context)
      const read = image.read.bind(image)
      image.read = (offset, buf, flags, signal) => {
        reads++
        const bad = offset < 10_000 && offset + buf.length > 9_000
        return bad ? Promise.reject(new Error('bad sector')) : read(offset, buf, flags, signal)
      }
      return image
    },
  }
  await using graph = new Graph({ drivers: [memory, broken] })
  await graph.createUnchecked({ driver: 'memory', name: 'a', size: 65536 })
  const source = await graph.addUnchecked({ driver: 'raw', file: { driver: 'memory', name: 'a' }, readOnly: true })
  const storage = await graph.addUnchecked({ driver: 'memory', name: 'a' })
  await storage.write(0, bytes(65536, 7))
  await storage.close()
  const content = bytes(65536, 9)
  const missing: MissingRange[] = []
  const target = {
    write: async (offset: number, buf: Uint8Array) => content.set(buf, offset),
    writeZeroes: async (offset: number, length: number) => void content.fill(0, offset, offset + length),
  }
  const result = await rescue(source, target, { onMissing: (range) => missing.push(range) })
  expect(missing).toEqual([{ offset: 8192, length: 4096, reason: expect.stringContaining('bad sector') }])
  expect(result).toEqual({ data: 61_440, zero: 0, missing: 4096 })
  expect([content[8191], content[8192], content[12_287], content[12_288]]).toEqual([7, 0, 0, 7])
  expect(reads).toBe(1 + 16)
})

it('a disk is not rescued onto itself, nor onto another disk in its storage', async () => {
  await using graph = new Graph({ drivers: [memory, raw] })
  await graph.createUnchecked({ driver: 'memory', name: 'a', size })
  const file = { driver: 'memory', name: 'a' }
  const disk = await graph.addUnchecked({ driver: 'raw', file })
  const onto = (target: Disk) => rescue(disk, target)
  const message = expect.stringContaining('cannot rescue')
  await expect(onto(disk)).rejects.toMatchObject({ code: 'EINVAL', message })
  await expect(onto(await graph.addUnchecked(file))).rejects.toMatchObject({ code: 'EINVAL', message })
})

it('an abort ends it, and a target that is too small is refused', async () => {
  await using graph = new Graph({ drivers: [memory, raw] })
  await graph.createUnchecked({ driver: 'memory', name: 'a', size })
  const source = await graph.addUnchecked({ driver: 'memory', name: 'a', readOnly: true })
  const target = { write: async () => undefined, writeZeroes: async () => undefined }
  const signal = AbortSignal.abort()
  await expect(rescue(source, target, { signal })).rejects.toMatchObject({ code: 'ECANCELED' })
  await expect(rescue(source, { ...target, size: 512 })).rejects.toMatchObject({ code: 'ENOSPC' })
})
