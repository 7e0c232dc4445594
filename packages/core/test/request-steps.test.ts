import { expect, it } from 'vitest'
import type { OpenImage } from '../src/driver.ts'
import { BlockError, Flag } from '../src/index.ts'
import { FakeDrivers, isPending } from './fake-drivers.ts'

/** A disk of 4096 ones whose image logs what reaches it. */
async function setUp(extra: Partial<OpenImage> = {}, options: object = {}) {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  const log: string[] = []
  const bytes = new Uint8Array(4096).fill(1)
  fakes.content.set('a', bytes)
  fakes.extra.set('a', {
    limits: { alignment: 512 },
    read: async (offset, buf) => {
      log.push(`read ${offset}+${buf.length}`)
      buf.set(bytes.subarray(offset, offset + buf.length))
    },
    write: async (offset, buf, flags) => {
      log.push(`write ${offset}+${buf.length} ${flags}`)
      bytes.set(buf, offset)
    },
    flush: async () => void log.push('flush'),
    writeFlags: 0,
    ...extra,
  })
  const disk = await graph.addUnchecked({ driver: 'disk', nodeName: 'a', ...options })
  return { fakes, graph, disk, log, bytes }
}

const events = (log: string[]): Partial<OpenImage> => ({
  debugEvent: (event) => {
    log.push(event)
    return undefined
  },
})

it('an unaligned write reads the blocks at its ends once each, and says so', async () => {
  for (const [offset, length, expected] of [
    [
      10,
      20,
      [
        'pwritev_rmw_head',
        'pwritev_rmw_tail',
        'read 0+512',
        'pwritev_rmw_after_head',
        'pwritev_rmw_after_tail',
        'pwritev',
        'write 0+512 0',
        'pwritev_done',
      ],
    ],
    [0, 20, ['pwritev_rmw_tail', 'read 0+512', 'pwritev_rmw_after_tail', 'pwritev', 'write 0+512 0', 'pwritev_done']],
    [500, 12, ['pwritev_rmw_head', 'read 0+512', 'pwritev_rmw_after_head', 'pwritev', 'write 0+512 0', 'pwritev_done']],
    [
      500,
      20,
      [
        'pwritev_rmw_head',
        'pwritev_rmw_tail',
        'read 0+1024',
        'pwritev_rmw_after_head',
        'pwritev_rmw_after_tail',
        'pwritev',
        'write 0+1024 0',
        'pwritev_done',
      ],
    ],
    [
      500,
      600,
      [
        'pwritev_rmw_head',
        'read 0+512',
        'pwritev_rmw_after_head',
        'pwritev_rmw_tail',
        'read 1024+512',
        'pwritev_rmw_after_tail',
        'pwritev',
        'write 0+1536 0',
        'pwritev_done',
      ],
    ],
    [
      512,
      600,
      ['pwritev_rmw_tail', 'read 1024+512', 'pwritev_rmw_after_tail', 'pwritev', 'write 512+1024 0', 'pwritev_done'],
    ],
    [
      500,
      1036,
      ['pwritev_rmw_head', 'read 0+512', 'pwritev_rmw_after_head', 'pwritev', 'write 0+1536 0', 'pwritev_done'],
    ],
    [512, 512, ['pwritev', 'write 512+512 0', 'pwritev_done']],
  ] as const) {
    const log: string[] = []
    const at = await setUp(events(log))
    const { graph, disk, bytes } = at
    const merged = at.log
    // One log for both, in order.
    Object.defineProperty(merged, 'push', { value: (...lines: string[]) => log.push(...lines) })
    await disk.write(offset, new Uint8Array(length).fill(7))
    expect(log, `${offset}+${length}`).toEqual(expected)
    const wanted = new Uint8Array(4096).fill(1).fill(7, offset, offset + length)
    expect(bytes, `${offset}+${length}`).toEqual(wanted)
    await graph.close()
  }
})

it('an unaligned read takes whole blocks, in one piece', async () => {
  const { graph, disk, log, bytes } = await setUp()
  bytes.set([5, 6, 7], 511)
  const buf = new Uint8Array(3)
  await disk.read(511, buf)
  expect([[...buf], log]).toEqual([[5, 6, 7], ['read 0+1024']])
  log.length = 0
  await disk.read(512, new Uint8Array(1024))
  expect(log).toEqual(['read 512+1024'])
  await graph.close()
})

it('long requests go in pieces, eight at a time, and all of a batch have ended before an error is told', async () => {
  let running = 0
  let begun = 0
  const release: (() => void)[] = []
  const { graph, disk } = await setUp({
    limits: { alignment: 256, maxTransfer: 300 },
    read: async (offset) => {
      running++
      begun++
      if (offset === 0) {
        running--
        throw new BlockError('EIO', 'the first')
      }
      await new Promise<void>((resolve) => release.push(resolve))
      running--
    },
  })
  const read = disk.read(0, new Uint8Array(4096))
  expect(await isPending(read)).toBe(true)
  expect([begun, release.length]).toEqual([8, 7])
  for (const go of release) go()
  await expect(read).rejects.toThrow('the first')
  expect([begun, running]).toEqual([8, 0])
  await graph.close()
})

it('a piece that throws at once is waited for with the others', async () => {
  const release: (() => void)[] = []
  const { graph, disk } = await setUp({
    limits: { maxTransfer: 512 },
    write: (offset) => {
      if (offset === 512) throw new BlockError('EIO', 'at once')
      return new Promise<void>((resolve) => release.push(resolve))
    },
  })
  const write = disk.write(0, new Uint8Array(1536))
  expect(await isPending(write)).toBe(true)
  expect(release).toHaveLength(2)
  for (const go of release) go()
  await expect(write).rejects.toThrow('at once')
  await graph.close()
})

it('FUA is passed where the image has it, else followed by one flush, after all pieces', async () => {
  const limits = { alignment: 512, maxTransfer: 512 }
  const plain = await setUp({ limits })
  await plain.disk.write(0, new Uint8Array(1024), Flag.Fua)
  expect(plain.log).toEqual(['write 0+512 0', 'write 512+512 0', 'flush'])
  plain.log.length = 0
  await plain.disk.write(0, new Uint8Array(1024), Flag.Unchanged)
  expect(plain.log).toEqual([`write 0+512 ${Flag.Unchanged}`, `write 512+512 ${Flag.Unchanged}`])
  await plain.graph.close()
  const own = await setUp({ limits, writeFlags: Flag.Fua })
  await own.disk.write(0, new Uint8Array(512), Flag.Fua | Flag.NoFallback)
  expect(own.log).toEqual([`write 0+512 ${Flag.Fua}`])
  await own.graph.close()
})

it('zeroes go to the image in whole units of its own, and their edges as data', async () => {
  const log: string[] = []
  const { graph, disk, bytes } = await setUp(
    {
      limits: { alignment: 512, writeZeroesAlignment: 1024, maxWriteZeroes: 1500 },
      zeroFlags: Flag.MayUnmap,
      write: async (offset, buf, flags) => void log.push(`write ${offset}+${buf.length} ${flags}`),
      writeZeroes: async (offset, length, flags) => void log.push(`zeroes ${offset}+${length} ${flags}`),
      flush: async () => void log.push('flush'),
      ...events(log),
    },
    { discard: 'unmap' },
  )
  await disk.writeZeroes(512, 3072, Flag.MayUnmap)
  expect(log.filter((line) => !line.startsWith('pwritev'))).toEqual([
    'write 512+512 0',
    `zeroes 1024+1024 ${Flag.MayUnmap}`,
    `zeroes 2048+1024 ${Flag.MayUnmap}`,
    'write 3072+512 0',
  ])
  expect(log.filter((line) => line.startsWith('pwritev'))).toEqual([
    'pwritev',
    'pwritev_done',
    'pwritev_zero',
    'pwritev_done',
    'pwritev',
    'pwritev_done',
  ])
  log.length = 0
  await disk.writeZeroes(1024, 1024, Flag.Fua)
  expect(log).toEqual(['pwritev_zero', 'zeroes 1024+1024 0', 'flush', 'pwritev_done'])
  log.length = 0
  await disk.writeZeroes(1536, 512)
  expect(log).toEqual(['pwritev', 'write 1536+512 0', 'pwritev_done'])
  await expect(disk.writeZeroes(1536, 512, Flag.NoFallback)).rejects.toMatchObject({
    code: 'ENOTSUP',
    message: "driver 'disk' cannot write zeroes efficiently",
    node: 'a',
  })
  expect(bytes[0]).toBe(1)
  await graph.close()
})

it('unmapping is asked for only where the node passes discards on', async () => {
  for (const [discard, passed] of [
    ['unmap', Flag.MayUnmap],
    ['ignore', 0],
  ] as const) {
    const seen: number[] = []
    const { graph, disk } = await setUp(
      { zeroFlags: Flag.MayUnmap, writeZeroes: async (_offset, _length, flags) => void seen.push(flags) },
      { discard },
    )
    await disk.writeZeroes(0, 512, Flag.MayUnmap)
    expect(seen).toEqual([passed])
    await graph.close()
  }
})

it('zeroes that an image finds it cannot make are written, with one flush for FUA, unless that is forbidden', async () => {
  const refuse = async (): Promise<never> => {
    throw new BlockError('ENOTSUP', 'cannot')
  }
  const { graph, disk, log } = await setUp({ writeZeroes: refuse })
  await disk.writeZeroes(0, 1024, Flag.Fua | Flag.MayUnmap)
  expect(log).toEqual(['write 0+1024 0', 'flush'])
  log.length = 0
  await disk.writeZeroes(0, 1024)
  expect(log).toEqual(['write 0+1024 0'])
  log.length = 0
  await expect(disk.writeZeroes(0, 1024, Flag.NoFallback)).rejects.toThrow('cannot')
  expect(log).toEqual([])
  await graph.close()
  const broken = await setUp({ writeZeroes: () => Promise.reject(new BlockError('EIO', 'broken')) })
  await expect(broken.disk.writeZeroes(0, 1024)).rejects.toThrow('broken')
  expect(broken.log).toEqual([])
  await broken.graph.close()
})

it('discards are cut to whole units, except at the end of the disk, and one that is refused is no error', async () => {
  const seen: string[] = []
  const { graph, disk } = await setUp(
    {
      limits: { alignment: 512, discardAlignment: 1024, maxDiscard: 1024 },
      discard: async (offset, length) => {
        seen.push(`${offset}+${length}`)
        if (offset === 1024) throw new BlockError('ENOTSUP', 'cannot')
        if (offset === 2048) throw new BlockError('EIO', 'broken')
      },
    },
    { discard: 'unmap' },
  )
  const told: unknown[] = []
  disk.node.addWriteNotifier((offset, length, kind) => void told.push([offset, length, kind]))
  const bitmap = disk.node.addDirtyBitmap(1024)
  await disk.discard(100, 500)
  await disk.discard(0, 1023)
  expect([seen, told]).toEqual([[], []])
  await disk.discard(0, 1536)
  await disk.discard(1024, 1024)
  await expect(disk.discard(2000, 1100)).rejects.toThrow('broken')
  await disk.discard(3072, 1024)
  expect(seen).toEqual(['0+1024', '1024+1024', '2048+1024', '3072+1024'])
  expect(told).toContainEqual([2048, 1024, 'discard'])
  expect(bitmap.dirtyBytes).toBe(4096)
  await graph.close()
})

it('writes that an image has no means for are refused, compressed ones too', async () => {
  const { graph, disk } = await setUp()
  await expect(disk.write(0, new Uint8Array(512), Flag.Compressed)).rejects.toMatchObject({
    code: 'ENOTSUP',
    message: "driver 'disk' cannot write compressed data",
  })
  await graph.close()
  const seen: number[] = []
  const able = await setUp(
    {
      writeFlags: Flag.Compressed,
      write: async (_offset, _buf, flags) => void seen.push(flags),
    },
    { detectZeroes: 'on' },
  )
  await able.disk.write(0, new Uint8Array(512), Flag.Compressed)
  expect(seen).toEqual([Flag.Compressed])
  await able.graph.close()
})

it('zeroes are detected in whole requests only, and unmapped where the node says so', async () => {
  for (const [detectZeroes, flags] of [
    ['on', 0],
    ['unmap', Flag.MayUnmap],
  ] as const) {
    const seen: unknown[] = []
    const { graph, disk, log } = await setUp(
      { zeroFlags: Flag.MayUnmap, writeZeroes: async (...request) => void seen.push(request.slice(0, 3)) },
      { detectZeroes, discard: 'unmap' },
    )
    await disk.write(512, new Uint8Array(512))
    await disk.write(0, new Uint8Array(512).fill(1, 511))
    await disk.write(0, new Uint8Array(0))
    expect([seen, log]).toEqual([[[512, 512, flags]], ['write 0+512 0', 'write 0+0 0']])
    await graph.close()
  }
})

it('what was written furthest is remembered', async () => {
  const { graph, disk } = await setUp({ limits: {} })
  await disk.write(100, new Uint8Array(50))
  await disk.write(0, new Uint8Array(10))
  expect(disk.node.writtenUpTo).toBe(150)
  await disk.writeZeroes(1000, 24)
  expect(disk.node.writtenUpTo).toBe(1024)
  await graph.close()
})
