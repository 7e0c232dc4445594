import { expect, test } from 'vitest'
import { isZero, type OpenImage, RangeLock } from '../src/driver.ts'
import { BlockError, DirtyBitmap, Flag, Graph } from '../src/index.ts'
import { pass, ram, Storage } from './drivers.ts'

async function open(
  limits: OpenImage['limits'],
  extra: Partial<OpenImage>,
  options: Record<string, unknown> = {},
  size = 8192,
) {
  const storage = new Storage()
  storage.disks.set('a', new Uint8Array(size).fill(1))
  const graph = new Graph({ drivers: [ram(storage, limits, extra), pass] })
  const disk = await graph.addUnchecked({ driver: 'ram', disk: 'a', nodeName: 'n', ...options })
  storage.log.length = 0
  return { storage, graph, disk }
}

test('requests outside the disk fail with EIO and reach no driver', async () => {
  const { storage, disk } = await open({}, {})
  await expect(disk.read(8190, new Uint8Array(4))).rejects.toMatchObject({ code: 'EIO' })
  await expect(disk.write(9000, new Uint8Array(4))).rejects.toMatchObject({ code: 'EIO' })
  await expect(disk.writeZeroes(0, 8193)).rejects.toMatchObject({ code: 'EIO' })
  await expect(disk.discard(-1, 5)).rejects.toMatchObject({ code: 'EINVAL' })
  await expect(disk.read(0.5, new Uint8Array(4))).rejects.toMatchObject({ code: 'EINVAL' })
  await expect(disk.read(Number.NaN, new Uint8Array(4))).rejects.toMatchObject({ code: 'EINVAL' })
  expect(storage.log).toEqual([])
})

test('long requests are split to what the image takes', async () => {
  const { storage, disk } = await open({ maxTransfer: 3000, alignment: 512 }, {})
  await disk.read(0, new Uint8Array(8192))
  expect(storage.log).toEqual(['read 0+2560', 'read 2560+2560', 'read 5120+2560', 'read 7680+512'])
})

test('FUA is a write and a flush where the image has no better way', async () => {
  const { storage, disk } = await open({}, {})
  await disk.write(0, new Uint8Array(512).fill(2), Flag.Fua)
  expect(storage.log).toEqual(['write 0+512', 'flush'])
})

test('zeroes are written out where the image cannot make them, unless that is forbidden', async () => {
  const { storage, disk } = await open({}, {})
  await disk.writeZeroes(100, 1000)
  expect(storage.log).toEqual(['write 100+1000'])
  await expect(disk.writeZeroes(0, 512, Flag.NoFallback)).rejects.toMatchObject({ code: 'ENOTSUP' })
})

test('the edges of an unaligned zero request are written as data', async () => {
  const log: string[] = []
  const { storage, disk } = await open(
    { writeZeroesAlignment: 1024 },
    {
      async writeZeroes(offset, length, flags) {
        log.push(`zero ${offset}+${length} ${flags}`)
      },
      zeroFlags: Flag.MayUnmap,
    },
  )
  await disk.writeZeroes(1000, 2000, Flag.MayUnmap)
  expect(log).toEqual(['zero 1024+1024 0'])
  expect(storage.log).toEqual(['write 1000+24', 'write 2048+952'])
})

test('an image that finds it cannot make zeroes gets them written', async () => {
  const { storage, disk } = await open({}, { writeZeroes: () => Promise.reject(new BlockError('ENOTSUP', 'no')) })
  await disk.writeZeroes(0, 512)
  expect(storage.log).toEqual(['write 0+512'])
})

test('writes of zeroes are detected when the node is told to', async () => {
  const log: string[] = []
  const extra: Partial<OpenImage> = {
    async writeZeroes(offset, length, flags) {
      log.push(`zero ${offset}+${length} ${flags}`)
    },
    zeroFlags: Flag.MayUnmap,
  }
  const { disk } = await open({}, extra, { detectZeroes: 'unmap', discard: 'unmap' })
  await disk.write(0, new Uint8Array(512))
  expect(log).toEqual([`zero 0+512 ${Flag.MayUnmap}`])
})

test('unmap detection needs discards to be passed on', async () => {
  await expect(open({}, {}, { detectZeroes: 'unmap' })).rejects.toThrow(
    'setting detect-zeroes to unmap is not allowed without setting discard operation to unmap',
  )
})

test('discards are shrunk to whole units, and dropped when the node ignores them', async () => {
  const log: string[] = []
  const extra: Partial<OpenImage> = {
    async discard(offset, length) {
      log.push(`discard ${offset}+${length}`)
    },
  }
  const ignoring = await open({ discardAlignment: 1024 }, extra)
  await ignoring.disk.discard(0, 8192)
  expect(log).toEqual([])
  const passing = await open({ discardAlignment: 1024 }, extra, { discard: 'unmap' })
  await passing.disk.discard(1000, 3000)
  await passing.disk.discard(7000, 1192)
  expect(log).toEqual(['discard 1024+2048', 'discard 7168+1024'])
})

test('a read-only node refuses every change', async () => {
  const { disk } = await open({}, {}, { readOnly: true })
  for (const attempt of [disk.write(0, new Uint8Array(1)), disk.writeZeroes(0, 1), disk.discard(0, 1)]) {
    await expect(attempt).rejects.toMatchObject({ code: 'EPERM' })
  }
})

test('notifiers run before a change and can refuse it; bitmaps record it afterwards', async () => {
  const { storage, graph, disk } = await open({}, {})
  const node = graph.find('n')
  if (node === undefined) return expect.unreachable()
  const bitmap = node.addDirtyBitmap(512)
  const stop = node.addWriteNotifier((offset, length, kind) => {
    storage.log.push(`notified ${kind} ${offset}+${length}`)
    if (offset === 4096) throw new BlockError('EIO', 'no')
  })
  await disk.write(600, new Uint8Array(1000))
  await expect(disk.write(4096, new Uint8Array(1))).rejects.toMatchObject({ code: 'EIO' })
  expect(storage.log).toEqual(['notified write 600+1000', 'write 600+1000', 'notified write 4096+1'])
  expect(bitmap.next(0)).toEqual({ offset: 512, length: 1536 })
  stop()
  node.removeDirtyBitmap(bitmap)
  expect(node.simpleWrite).toBe(true)
})

test('an aborted signal stops a request before it starts', async () => {
  const { storage, disk } = await open({}, {})
  await expect(disk.read(0, new Uint8Array(1), 0, AbortSignal.abort())).rejects.toMatchObject({ code: 'ECANCELED' })
  expect(storage.log).toEqual([])
})

test('statistics count bytes, operations and failures', async () => {
  const { disk } = await open({}, {})
  await disk.write(0, new Uint8Array(100))
  await disk.read(0, new Uint8Array(50))
  await disk.flush()
  expect(disk.statistics.write.totals()).toMatchObject({ bytes: 100, operations: 1, failed: 0 })
  expect(disk.statistics.read.totals()).toMatchObject({ bytes: 50, operations: 1 })
  expect(disk.statistics.flush.totals()).toMatchObject({ operations: 1 })
})

test('range locks let shared holders overlap, and exclusive ones wait until the range is free', async () => {
  const lock = new RangeLock()
  const a = await lock.acquire(0, 10, false)
  const b = await lock.acquire(5, 10, false)
  const order: string[] = []
  const wait = async (name: string, offset: number, length: number) => {
    const hold = await lock.acquire(offset, length, true)
    order.push(name)
    return hold
  }
  const c = wait('first', 8, 4)
  const d = wait('second', 9, 1)
  expect(lock.acquire(100, 1, true)).not.toBeInstanceOf(Promise)
  lock.release(a)
  lock.release(b)
  lock.release(await c)
  lock.release(await d)
  expect(order).toEqual(['first', 'second'])
})

test('who waits for a range holds nobody back that need not wait, and is not served beside who came later', async () => {
  const lock = new RangeLock()
  const left = await lock.acquire(0, 10, true)
  let served = false
  const both = Promise.resolve(lock.acquire(5, 10, true)).then((hold) => {
    served = true
    return hold
  })
  const right = lock.acquire(10, 10, true)
  expect(right).not.toBeInstanceOf(Promise)
  lock.release(left)
  await Promise.resolve()
  expect(served).toBe(false)
  lock.release(await right)
  lock.release(await both)
  expect(served).toBe(true)
})

test('who waits for a range is overtaken 64 times at most', async () => {
  const lock = new RangeLock()
  const left = await lock.acquire(0, 10, true)
  const both = lock.acquire(5, 10, true)
  for (let i = 0; i < 64; i++) lock.release(await lock.acquire(10, 10, true))
  const late = lock.acquire(10, 10, true)
  expect(late).toBeInstanceOf(Promise)
  lock.release(left)
  lock.release(await both)
  lock.release(await late)
})

test('a dirty bitmap gives its runs in order and follows a resize', () => {
  const bitmap = new DirtyBitmap(10_000, 1024)
  bitmap.set(0, 1)
  bitmap.set(5000, 5000)
  expect(bitmap.next(0)).toEqual({ offset: 0, length: 1024 })
  expect(bitmap.next(1024)).toEqual({ offset: 4096, length: 5904 })
  expect(bitmap.next(1024, 2048)).toEqual({ offset: 4096, length: 2048 })
  bitmap.clear(4096, 2048)
  expect(bitmap.next(1024)).toEqual({ offset: 6144, length: 3856 })
  bitmap.clear(6144, 3856)
  expect(bitmap.next(1024)).toBeUndefined()
  bitmap.resize(1024)
  expect(bitmap.dirtyBytes).toBe(1024)
})

test('isZero looks at every byte, signs of zeroes and odd starts too', () => {
  const bytes = new Uint8Array(1000)
  expect(isZero(bytes)).toBe(true)
  for (const i of [0, 3, 7, 8, 15, 511, 999]) {
    for (const value of [1, 0x80]) {
      bytes[i] = value
      expect(isZero(bytes)).toBe(false)
      expect(isZero(bytes.subarray(i))).toBe(false)
      expect(isZero(bytes.subarray(i + 1))).toBe(true)
      bytes[i] = 0
    }
  }
})
