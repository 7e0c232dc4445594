import { describe, expect, it } from 'vitest'
import type { OpenImage } from '../src/driver.ts'
import { BlockError, Flag } from '../src/index.ts'
import type { topBase } from '../src/options/base-options.ts'
import { bareNode } from './fake-drivers.ts'

/** A node over `size` bytes that all differ from their neighbours, which logs the ranges that reach its image. */
function setUp(extra: Partial<OpenImage> = {}, base: Partial<typeof topBase> = {}, size = 4096) {
  const node = bareNode({ discard: 'unmap', ...base })
  const bytes = Uint8Array.from({ length: size }, (_, i) => (i % 251) + 1)
  const log: [string, number, number][] = []
  node.attachImage({
    size,
    read: async (offset, buf) => {
      log.push(['read', offset, buf.length])
      buf.set(bytes.subarray(offset, offset + buf.length))
    },
    write: async (offset, buf) => {
      log.push(['write', offset, buf.length])
      bytes.set(buf, offset)
    },
    ...extra,
  })
  return { node, bytes, log, before: bytes.slice() }
}

const unsupported = async () => {
  throw new BlockError('ENOTSUP', 'cannot')
}
const MiB = 2 ** 20

describe('a request in pieces', () => {
  it('reads the right bytes from the middle of a block on, in whole blocks', async () => {
    const { node, bytes, log } = setUp({ limits: { alignment: 512, maxTransfer: 512 } })
    const buf = new Uint8Array(1000)
    await node.read(700, buf, 0)
    expect(buf).toEqual(bytes.slice(700, 1700))
    expect(log).toEqual([512, 1024, 1536].map((offset) => ['read', offset, 512]))
    log.length = 0
    await node.read(1024, buf.subarray(0, 512), 0)
    expect(buf.slice(0, 512)).toEqual(bytes.slice(1024, 1536))
    expect(log).toEqual([['read', 1024, 512]])
  })

  it('reads and writes the right bytes of a long buffer, the last piece shorter', async () => {
    const { node, bytes, log, before } = setUp({ limits: { maxTransfer: 512 } })
    const buf = new Uint8Array(1200)
    await node.read(300, buf, 0)
    expect(buf).toEqual(before.slice(300, 1500))
    await node.write(1300, buf, 0)
    expect(bytes.slice(1300, 2500)).toEqual(buf)
    expect([bytes[1299], bytes[2500]]).toEqual([before[1299], before[2500]])
    const pieces = (kind: string, offset: number) => [
      [kind, offset, 512],
      [kind, offset + 512, 512],
      [kind, offset + 1024, 176],
    ]
    expect(log).toEqual([...pieces('read', 300), ...pieces('write', 1300)])
  })
})

describe('zeroes that are written out', () => {
  const range = [
    ['write', 100, MiB],
    ['write', 100 + MiB, 7],
  ]

  it('fill the range and no more, a MiB at a time', async () => {
    const { node, bytes, log, before } = setUp({}, {}, 3 * MiB)
    await node.writeZeroes(100, MiB + 7, 0)
    expect(log).toEqual(range)
    expect([bytes[99], bytes[100], bytes[MiB + 106], bytes[MiB + 107]]).toEqual([before[99], 0, 0, before[MiB + 107]])
    log.length = 0
    await node.writeZeroes(0, MiB, 0)
    expect(log).toEqual([['write', 0, MiB]])
  })

  it('because the image cannot make them do so, too, and hold nothing afterwards', async () => {
    const { node, log } = setUp({ writeZeroes: unsupported }, {}, 3 * MiB)
    await node.writeZeroes(100, MiB + 7, 0)
    await node.writeZeroes(0, MiB, 0)
    expect(log).toEqual([...range, ['write', 0, MiB]])
    expect(node.rangeLock.acquire(0, 3 * MiB, true)).not.toBeInstanceOf(Promise)
    await expect(setUp().node.writeZeroes(0, 5, Flag.NoFallback)).rejects.toMatchObject({ code: 'ENOTSUP', node: 'n' })
  })
})

describe('a discard', () => {
  function discarding(limits: OpenImage['limits'], fail = false, size = 4096) {
    const ranges: number[][] = []
    const discard = async (offset: number, length: number) => {
      ranges.push([offset, length])
      if (fail) throw new BlockError('EIO', 'no')
    }
    return { ...setUp({ limits, discard }, {}, size), ranges }
  }

  it('keeps its odd end only at the end of the image', async () => {
    const { node, ranges } = discarding({ discardAlignment: 1024 }, false, 1500)
    await node.discard(0, 1500)
    await node.discard(0, 1499)
    await node.discard(1, 1023)
    expect(ranges).toEqual([
      [0, 1500],
      [0, 1024],
    ])
  })

  it('counts as a write of its range, and holds nothing when it fails', async () => {
    const { node } = discarding({}, true)
    await expect(node.discard(1000, 24)).rejects.toThrow('no')
    expect(node.writtenUpTo).toBe(1024)
    expect(node.rangeLock.acquire(0, 4096, true)).not.toBeInstanceOf(Promise)
  })

  it('is refused by a read-only node, and dropped by an image that has none', async () => {
    const { node } = setUp({ discard: async () => undefined }, { readOnly: true })
    await expect(node.discard(0, 5)).rejects.toMatchObject({ code: 'EPERM' })
    await setUp().node.discard(0, 5)
  })
})

describe('a change', () => {
  it('is told to notifiers by its kind, and the furthest end stays', async () => {
    const { node } = setUp({ discard: async () => undefined })
    const told: unknown[] = []
    node.addWriteNotifier((...given) => void told.push(given))
    await node.write(100, new Uint8Array(50), 0)
    await node.writeZeroes(10, 20, 0)
    await node.discard(30, 5)
    expect(told).toEqual([
      [100, 50, 'write'],
      [10, 20, 'zeroes'],
      [30, 5, 'discard'],
    ])
    expect(node.writtenUpTo).toBe(150)
  })

  it('is refused by name where the image has no means for it', async () => {
    const compressed = setUp().node.write(0, new Uint8Array(1), Flag.Compressed)
    const message = "driver 'disk' cannot write compressed data"
    await expect(compressed).rejects.toMatchObject({ code: 'ENOTSUP', node: 'n', message })
  })

  it('of the first sector of a guessed format is looked at as it would be, and others are not', async () => {
    const { node, log, before } = setUp({}, {}, 4096)
    const heads: Uint8Array[] = []
    node.probeGuard = (head) => {
      heads.push(head.slice())
      return head[511] === 0
    }
    node.updatePaths()
    await node.write(512, new Uint8Array(4), 0)
    expect([heads, log]).toEqual([[], [['write', 512, 4]]])
    await node.write(500, new Uint8Array(4), 0)
    const expected = before.slice(0, 512).fill(0, 500, 504)
    expect(heads).toEqual([expected])
    await expect(node.write(510, new Uint8Array(600), 0)).rejects.toMatchObject({
      code: 'EPERM',
      node: 'n',
      message: 'a write to sector 0 would make this raw image look like another format',
      hint: "give the format explicitly (driver: 'raw') to allow it",
    })
    await expect(node.writeZeroes(511, 1, 0)).rejects.toMatchObject({ code: 'EPERM' })
    await node.writeZeroes(0, 100, 0)
  })
})
