import { type Disk, Graph, Permission } from '@diskgraph/core'
import { type DriverDescriptor, type OpenContext, Passthrough } from '@diskgraph/core/driver'
import { cache } from '@diskgraph/driver-cache'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { raw } from '@diskgraph/driver-raw'
import { Faults, Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const page = 4096
const pages = 64
const size = pages * page + 512

interface Stack {
  readonly graph: Graph
  readonly disk: Disk
  readonly storage: MemoryStorage
  /** Below the cache. */
  readonly below: Faults
}

/** A disk of which each page holds its index, below a cache of 16 pages. */
async function open(settings: object = {}, late = lateDriver(Promise.resolve()), above?: string): Promise<Stack> {
  const storage = new MemoryStorage(size)
  for (let i = 0; i <= pages; i++) storage.write(i * page, new Uint8Array(Math.min(page, size - i * page)).fill(i))
  const below = new Faults()
  const graph = new Graph({
    drivers: [cache, memoryDriver(new Map([['image', storage]])), late, growing, below.driver],
  })
  const image = { driver: 'memory', name: 'image' }
  const file = { driver: 'testkit-fault', nodeName: 'below', file: { driver: 'late', file: image } }
  const definition = { driver: 'cache', pageSize: page, cacheSize: 16 * page, discard: 'unmap', file, ...settings }
  const disk = await graph.addUnchecked(above === undefined ? definition : { driver: above, file: definition })
  below.arm()
  return { graph, disk, storage, below }
}

/** Storage whose first read takes its bytes at once and gives them when `answered` is. */
function lateDriver(answered: Promise<void>): DriverDescriptor {
  class LateImage extends Passthrough {
    #wait: Promise<void> | undefined = answered

    override async read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
      const wait = this.#wait
      this.#wait = undefined
      await super.read(offset, buf, flags, signal)
      await wait
    }
  }
  return {
    name: 'late',
    kind: 'filter',
    description: 'Answers its first read late.',
    options: { file: { type: 'child', role: 'filtered', required: true, description: 'The storage' } },
    open: async ({ children }: OpenContext) => new LateImage(children.require('file')),
  }
}

/** A format whose file grows when it is written to. */
const growing: DriverDescriptor = {
  name: 'growing',
  kind: 'format',
  description: 'Shows its file, and zeroes behind it.',
  options: { file: { type: 'child', role: 'storage', required: true, description: 'The file' } },
  open: async ({ children }: OpenContext) => {
    const file = children.require('file')
    return {
      size: 2 * size,
      read: (offset, buf, flags, signal) => file.read(offset, buf, flags, signal),
      write: (offset, buf, flags, signal) => file.write(offset, buf, flags, signal),
    }
  },
}

async function read(disk: Disk, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
  const buf = new Uint8Array(length).fill(255)
  await disk.read(offset, buf, 0, signal)
  return buf
}

function figures({ disk }: Stack): Record<string, number> {
  return { ...disk.node.image.statistics?.() }
}

/** Lets everything run that can. */
async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve()
}

describe('cache', () => {
  it('keeps no short page of a read that began while the disk was being lengthened', async () => {
    const storage = new MemoryStorage(page + 512)
    storage.write(page, new Uint8Array(512).fill(1))
    let lengthen = (): void => {}
    const wait = new Promise<void>((resolve) => {
      lengthen = resolve
    })
    class Lengthened extends Passthrough {
      override async truncate(...given: Parameters<Passthrough['truncate']>): Promise<void> {
        await wait
        await super.truncate(...given)
      }
    }
    const slow: DriverDescriptor = {
      name: 'slow',
      kind: 'filter',
      description: 'Is lengthened late.',
      options: { file: { type: 'child', role: 'filtered', required: true, description: 'The storage' } },
      open: async ({ children }: OpenContext) => new Lengthened(children.require('file')),
    }
    await using graph = new Graph({ drivers: [cache, slow, memoryDriver(new Map([['image', storage]]))] })
    const file = { driver: 'slow', file: { driver: 'memory', name: 'image' } }
    const { node } = await graph.addUnchecked({ driver: 'cache', pageSize: page, file })
    const { image } = node
    const lengthening = image.truncate?.(4 * page, {})
    const early = new Uint8Array(512)
    await image.read(page, early, 0)
    expect(early[0]).toBe(1)
    lengthen()
    await lengthening
    const late = new Uint8Array(1024).fill(255)
    await image.read(page + 256, late, 0)
    expect([late[0], late[256], late[1023]]).toEqual([1, 0, 0])
  })

  it('forgets what it has when something below it is replaced or has other options', async () => {
    const storages = new Map(['a', 'b'].map((name) => [name, new MemoryStorage(2 * page)]))
    storages.get('a')?.write(0, new Uint8Array(page).fill(1))
    storages.get('a')?.write(page, new Uint8Array(page).fill(5))
    storages.get('b')?.write(0, new Uint8Array(page).fill(2))
    await using graph = new Graph({ drivers: [cache, raw, memoryDriver(storages)] })
    for (const name of storages.keys()) await graph.addNode({ driver: 'memory', name, nodeName: name })
    await graph.addNode({ driver: 'raw', nodeName: 'below', file: 'a' })
    const disk = await graph.add({ driver: 'cache', pageSize: page, file: 'below' })
    const first = async (): Promise<number | undefined> => {
      const buf = new Uint8Array(512)
      await disk.read(0, buf)
      return buf[0]
    }
    expect(await first()).toBe(1)
    await graph.setChild('below', 'file', 'b')
    expect(await first()).toBe(2)
    await graph.setChild('below', 'file', 'a')
    storages.get('a')?.write(0, new Uint8Array(page).fill(9))
    expect(await first()).toBe(9)
    await graph.reopen('below', { offset: page, size: page })
    expect(await first()).toBe(5)
  })

  it('asks the storage for a page once', async () => {
    const stack = await open()
    await using _ = stack.graph
    expect([...(await read(stack.disk, 2 * page - 1, 2))]).toEqual([1, 2])
    expect(stack.below.calls).toBe(1)
    expect([...(await read(stack.disk, 3 * page - 2, 1))]).toEqual([2])
    expect(stack.below.calls).toBe(1)
    expect(figures(stack)).toEqual({ hits: 1, misses: 2, pages: 2 })
  })

  it('reads a run of missing pages at once, around those it has', async () => {
    const stack = await open()
    await using _ = stack.graph
    await read(stack.disk, 3 * page, 1)
    stack.below.arm()
    const buf = await read(stack.disk, 0, 6 * page)
    expect([0, 1, 2, 3, 4, 5].map((i) => buf[i * page + 7])).toEqual([0, 1, 2, 3, 4, 5])
    expect(stack.below.calls).toBe(2)
  })

  it('lets those who want a page that is being read wait for it', async () => {
    const stack = await open()
    await using _ = stack.graph
    stack.below.hold('read')
    const reads = Array.from({ length: 8 }, (_, i) => read(stack.disk, 5 * page + i * 512, 512))
    await settle()
    expect(stack.below.release()).toBe(1)
    expect((await Promise.all(reads)).every((buf) => buf.every((byte) => byte === 5))).toBe(true)
    expect(figures(stack)).toEqual({ hits: 7, misses: 1, pages: 1 })
  })

  it('reads the end of a disk that is no whole page', async () => {
    const stack = await open()
    await using _ = stack.graph
    for (let i = 0; i < 2; i++) {
      expect([...new Set(await read(stack.disk, pages * page, 512))]).toEqual([pages])
    }
    expect(stack.below.calls).toBe(1)
  })

  it('never takes more memory than it may, and keeps what was used last', async () => {
    const stack = await open()
    await using _ = stack.graph
    for (let i = 0; i < 16; i++) await read(stack.disk, i * page, 1)
    await read(stack.disk, 0, 1)
    await read(stack.disk, 20 * page, 1)
    expect(figures(stack).pages).toBe(16)
    stack.below.arm()
    await read(stack.disk, 0, 1)
    expect(stack.below.calls).toBe(0)
    await read(stack.disk, page, 1)
    expect(stack.below.calls).toBe(1)
  })

  it('passes reads by that have no room beside those under way', async () => {
    const stack = await open()
    await using _ = stack.graph
    stack.below.hold('read')
    const reads = Array.from({ length: 80 }, (_, i) => read(stack.disk, (i % 40) * page, 1))
    await settle()
    // 16 pages are being read, once each; the others are nowhere to wait for.
    expect(stack.below.release()).toBe(16 + 2 * 24)
    expect((await Promise.all(reads)).map((buf) => buf[0])).toEqual(Array.from({ length: 80 }, (_, i) => i % 40))
    expect(figures(stack)).toEqual({ hits: 16, misses: 64, pages: 16 })
  })

  it('reads a disk that is larger than the cache in one request', async () => {
    const stack = await open()
    await using _ = stack.graph
    const buf = await read(stack.disk, 0, size)
    expect(buf.every((byte, i) => byte === Math.floor(i / page))).toBe(true)
    expect(figures(stack).pages).toBeLessThanOrEqual(16)
  })

  it.each<[string, number, (disk: Disk) => Promise<void>]>([
    ['a write', 9, (disk) => disk.write(page, new Uint8Array(page).fill(9))],
    ['zeroes', 0, (disk) => disk.writeZeroes(page, page)],
    ['a discard', 0, (disk) => disk.discard(page, page)],
  ])('shows %s, whenever it comes', async (_, byte, change) => {
    const stack = await open()
    await using _graph = stack.graph
    await read(stack.disk, 0, 3 * page)
    await change(stack.disk)
    const buf = await read(stack.disk, 0, 3 * page)
    expect([0, 1, 2].map((i) => buf[i * page])).toEqual([0, byte, 2])
  })

  it('does not keep what was read before a write that ended earlier', async () => {
    const stack = await open()
    await using _ = stack.graph
    stack.below.hold('write')
    const write = stack.disk.write(page, new Uint8Array(page).fill(9))
    await settle()
    // Begins beside the write and brings the old bytes.
    await read(stack.disk, page, page)
    stack.below.release()
    await write
    expect((await read(stack.disk, page, page))[0]).toBe(9)
  })

  it('does not keep what a read brings that began before a write and ends after it', async () => {
    let answer = (): void => undefined
    const answered = new Promise<void>((resolve) => {
      answer = resolve
    })
    const stack = await open({}, lateDriver(answered))
    await using _ = stack.graph
    const reading = read(stack.disk, page, page)
    await settle()
    await stack.disk.write(page, new Uint8Array(page).fill(9))
    expect((await read(stack.disk, page, page))[0]).toBe(9)
    answer()
    expect((await reading)[0]).toBe(1)
    expect((await read(stack.disk, page, page))[0]).toBe(9)
  })

  it('gives nobody the short end of a disk that has grown', async () => {
    let answer = (): void => undefined
    const answered = new Promise<void>((resolve) => {
      answer = resolve
    })
    const stack = await open({}, lateDriver(answered), 'growing')
    await using _ = stack.graph
    const reading = read(stack.disk, pages * page, 512)
    await settle()
    await stack.disk.write(pages * page + 4096, new Uint8Array(512).fill(9))
    const buf = await read(stack.disk, pages * page, 4608)
    expect([buf[511], buf[512], buf[4095], buf[4096]]).toEqual([pages, 0, 0, 9])
    answer()
    expect((await reading)[511]).toBe(pages)
    expect((await read(stack.disk, pages * page, 4608))[4096]).toBe(9)
  })

  it('forgets what a write that failed may have changed', async () => {
    const stack = await open()
    await using _ = stack.graph
    await read(stack.disk, page, page)
    stack.below.arm({ nth: 1, code: 'EIO', kinds: ['write'], written: 0.5 })
    await expect(stack.disk.write(page, new Uint8Array(page).fill(9))).rejects.toMatchObject({ code: 'EIO' })
    const buf = await read(stack.disk, page, page)
    expect([buf[0], buf[page - 1]]).toEqual([9, 1])
  })

  it('reads what it was asked for where the rest of the page cannot be read', async () => {
    const stack = await open()
    await using _ = stack.graph
    stack.below.arm({ nth: 1, code: 'EIO', kinds: ['read'] })
    expect((await read(stack.disk, page, 512))[0]).toBe(1)
    expect(figures(stack).pages).toBe(0)
    stack.below.arm({ nth: 1, code: 'EIO', kinds: ['read'], lasting: true })
    await expect(read(stack.disk, page, 512)).rejects.toMatchObject({ code: 'EIO' })
  })

  it('costs nobody else a read when one of those who wait gives up', async () => {
    const stack = await open()
    await using _ = stack.graph
    const ending = new AbortController()
    stack.below.hold('read')
    const first = read(stack.disk, page, 512)
    await settle()
    const second = read(stack.disk, page, 512, ending.signal)
    await settle()
    ending.abort()
    await expect(second).rejects.toMatchObject({ code: 'ECANCELED' })
    stack.below.release()
    expect((await first)[0]).toBe(1)
  })

  it('shows no old bytes after the disk has shrunk and grown', async () => {
    const stack = await open()
    await using _ = stack.graph
    await read(stack.disk, 0, 8 * page)
    await stack.disk.truncate(page + 512)
    await stack.disk.truncate(size)
    const buf = await read(stack.disk, 0, 3 * page)
    expect([buf[page], buf[page + 511], buf[page + 512], buf[2 * page]]).toEqual([1, 1, 0, 0])
  })

  it('lets nobody write below it', async () => {
    const stack = await open()
    await using _ = stack.graph
    const { ConsistentRead, Write, Resize } = Permission
    for (const permissions of [Write, Resize]) {
      await expect(stack.graph.attach('below', { permissions })).rejects.toMatchObject({ code: 'EPERM' })
    }
    await stack.graph.attach('below', { permissions: ConsistentRead })
  })

  it('takes another size when it is reopened', async () => {
    const stack = await open()
    await using _ = stack.graph
    for (let i = 0; i < 16; i++) await read(stack.disk, i * page, 1)
    await stack.graph.reopen(stack.disk.node, { cacheSize: 2 * page })
    expect(figures(stack).pages).toBe(2)
    await expect(stack.graph.reopen(stack.disk.node, { cacheSize: 1 })).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('refuses pages that are no power of two, or larger than all of it', async () => {
    await expect(open({ pageSize: 5000 })).rejects.toThrow('pageSize of 5000 bytes is no power of two')
    await expect(open({ cacheSize: page, pageSize: 2 * page })).rejects.toThrow('has no room for a page of 8192 bytes')
  })

  it('shows each sector as it was at some time during the read, whatever happens at once', async () => {
    const seed = randomSeed()
    const random = new Random(seed)
    const stack = await open({ cacheSize: 6 * page })
    await using _ = stack.graph
    stack.below.jitter = new Random(seed + 1)
    const sectors = size / 512
    // Of each sector: the value of the last write that ended, and those of all that are under way.
    const settled = new Uint8Array(sectors).map((_, i) => Math.floor(i / 8))
    const since = Array.from({ length: sectors }, (): Set<number> => new Set())
    const busy = new Set<number>()
    const readers = new Set<{ first: number; allowed: Set<number>[] }>()
    const range = (most: number): [number, number] => {
      const first = random.below(sectors)
      return [first, Math.min(1 + random.below(most), sectors - first)]
    }
    const readSome = async (): Promise<void> => {
      const [first, count] = range(80)
      const allowed = Array.from({ length: count }, (_, i) => {
        return new Set([settled[first + i] as number, ...(since[first + i] as Set<number>)])
      })
      const reader = { first, allowed }
      readers.add(reader)
      const buf = await read(stack.disk, first * 512, count * 512)
      readers.delete(reader)
      for (let i = 0; i < count; i++) {
        if (!allowed[i]?.has(buf[i * 512] as number)) throw new Error(`seed ${seed}: sector ${first + i} is stale`)
      }
    }
    const writeSome = async (): Promise<void> => {
      const [first, count] = range(20)
      const all = Array.from({ length: count }, (_, i) => first + i)
      // Of two writes at once either may come last: the test has none that overlap.
      if (all.some((sector) => busy.has(sector))) return
      const byte = random.below(3) === 0 ? 0 : 100 + random.below(100)
      for (const sector of all) {
        busy.add(sector)
        since[sector]?.add(byte)
        for (const { first: start, allowed } of readers) allowed[sector - start]?.add(byte)
      }
      if (byte === 0) await stack.disk.writeZeroes(first * 512, count * 512)
      else await stack.disk.write(first * 512, new Uint8Array(count * 512).fill(byte))
      for (const sector of all) {
        busy.delete(sector)
        since[sector]?.delete(byte)
        settled[sector] = byte
      }
    }
    const worker = async (): Promise<void> => {
      for (let i = 0; i < 150; i++) await (random.below(3) === 0 ? writeSome() : readSome())
    }
    await Promise.all(Array.from({ length: 8 }, worker))
    expect(figures(stack).hits).toBeGreaterThan(0)
  })
})
