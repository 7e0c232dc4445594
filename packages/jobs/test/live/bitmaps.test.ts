import { DirtyBitmap, type Graph, type Node } from '@diskgraph/core'
import {
  addBitmap,
  bitmapSha256,
  clearBitmap,
  enableBitmap,
  findBitmap,
  JobTable,
  mergeBitmaps,
  removeBitmap,
  startBackup,
} from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { type Stack, stack } from '../stack.ts'
import { reached } from './events.ts'

const mebibyte = 2 ** 20
const size = 4 * mebibyte

async function setUp(): Promise<Stack & { node: Node; jobs: JobTable }> {
  const made = stack()
  return { ...made, node: await made.target('a', size), jobs: new JobTable(made.graph) }
}

const write = async (graph: Graph, offset: number, length: number, value = 1): Promise<void> => {
  const disk = await graph.attach('a')
  await disk.write(offset, new Uint8Array(length).fill(value))
  await disk.close()
}

describe('a bitmap', () => {
  it('records what changes, in units of the default granularity', async () => {
    const { graph, node } = await setUp()
    await using _ = graph
    const { bitmap } = await addBitmap(graph, node, { name: 'x' })
    expect(bitmap).toMatchObject({ granularity: 65536, enabled: true, busy: false, dirtyBytes: 0 })
    await write(graph, mebibyte, 1)
    expect(bitmap.next(0)).toEqual({ offset: mebibyte, length: 65536 })
    await enableBitmap(node, 'x', false)
    await write(graph, 0, 1)
    await clearBitmap(node, 'x')
    expect(bitmap.dirtyBytes).toBe(0)
    await removeBitmap(node, 'x')
    expect(() => findBitmap(node, 'x')).toThrow("Dirty bitmap 'x' not found")
  })

  it.each([
    [{ name: '' }, 'Bitmap name cannot be empty'],
    [{ name: 'x' }, 'Bitmap already exists: x'],
    [{ name: 'y', granularity: 100 }, 'Granularity must be power of 2 and at least 512'],
    [{ name: 'y', granularity: 256 }, 'Granularity must be power of 2 and at least 512'],
    [{ name: 'n'.repeat(1024) }, 'Bitmap name too long: nnn'],
    [{ name: 'y', granularty: 512 }, "addBitmap has no option 'granularty'"],
    [{ name: 'y', disabled: 1 as never }, "the option 'disabled' of addBitmap is true or false, not 1"],
    [{ name: 'y', persistent: true }, "Can't store persistent bitmaps to a: Operation not supported"],
  ])('is refused for %j', async (settings, message) => {
    const { graph, node } = await setUp()
    await using _ = graph
    await addBitmap(graph, node, { name: 'x', granularity: 2 ** 31 })
    await expect(addBitmap(graph, node, settings)).rejects.toThrow(message)
    expect(node.dirtyBitmaps).toHaveLength(1)
  })

  it('takes what others have marked, or nothing', async () => {
    const { graph, node, ...make } = await setUp()
    await using _ = graph
    const other = await make.target('c', 2 * size)
    await addBitmap(graph, node, { name: 'x', disabled: true })
    await addBitmap(graph, node, { name: 'y', granularity: 4096 })
    await addBitmap(graph, other, { name: 'z' })
    await write(graph, 5000, 10)
    const sizes = 'Bitmaps are of different sizes (destination size is 4194304, source size is 8388608)'
    await expect(mergeBitmaps(node, 'x', ['y', { node: other, name: 'z' }])).rejects.toThrow(sizes)
    await expect(mergeBitmaps(node, 'x', ['y', 'nope'])).rejects.toThrow("Dirty bitmap 'nope' not found")
    expect(findBitmap(node, 'x').dirtyBytes).toBe(0)
    await mergeBitmaps(node, 'x', ['y'])
    expect(findBitmap(node, 'x').dirtyBytes).toBe(65536)
  })

  it('hashes as that of QEMU 7.2 does', async () => {
    // x-debug-block-dirty-bitmap-sha256 of a disk of 4 MiB, clean, and with its second MiB written.
    const bitmap = new DirtyBitmap(size, 65536)
    expect(await bitmapSha256(bitmap)).toBe('af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc')
    bitmap.set(mebibyte, mebibyte)
    expect(await bitmapSha256(bitmap)).toBe('3c223234f0cd306912cd6ab0cbc54c62a344228f4b97a4953824f1531a8a83e7')
    await expect(bitmapSha256(new DirtyBitmap(2 ** 52, 512))).rejects.toMatchObject({ code: 'EFBIG' })
  })
})

describe('a backup by a bitmap', () => {
  async function backedUp(mode: 'on-success' | 'never' | 'always', end: 'well' | 'cancelled') {
    const made = await setUp()
    const { graph, node, jobs } = made
    await made.target('b', size)
    const { bitmap } = await addBitmap(graph, node, { name: 'x' })
    const disk = await graph.attach('a')
    await disk.write(mebibyte, new Uint8Array(3 * 65536).fill(7))
    const job = await startBackup(jobs, {
      device: 'a',
      target: 'b',
      sync: 'bitmap',
      bitmap: 'x',
      bitmapMode: mode,
      maxChunk: 65536,
      speed: 1,
      autoFinalize: false,
    })
    await disk.write(mebibyte, new Uint8Array(1).fill(9))
    await disk.write(3 * mebibyte, new Uint8Array(1).fill(9))
    const busy = "Bitmap 'x' is currently in use by another operation and cannot be used"
    await expect(removeBitmap(node, 'x')).rejects.toThrow(busy)
    await expect(clearBitmap(node, 'x')).rejects.toThrow(busy)
    const shown = [...graph.nodes].flatMap((one) =>
      one.dirtyBitmaps.map(({ name = 'unnamed', enabled, dirtyBytes }) => [one.driver.name, name, enabled, dirtyBytes]),
    )
    if (end === 'well') {
      job.setSpeed(0)
      await reached(job, 'pending')
      await job.finalize()
    } else {
      job.cancel()
      await job.finished.catch(() => undefined)
    }
    expect(bitmap.busy).toBe(false)
    const places = [0, mebibyte, mebibyte + 2 * 65536, 3 * mebibyte].map((at) => bitmap.get(at))
    const copied = new Uint8Array(size)
    made.storages.get('b')?.read(0, copied)
    await graph.close()
    return { places, copied, shown, length: job.length }
  }

  it('copies what is marked, as it was at the start', async () => {
    const { copied, length } = await backedUp('on-success', 'well')
    expect(length).toBe(3 * 65536)
    expect([copied[0], copied[mebibyte], copied[mebibyte + 3 * 65536 - 1], copied[3 * mebibyte]]).toEqual([0, 7, 7, 0])
  })

  it('is split while it runs: it stays as it was, and unnamed ones tell what is written and what is to be copied', async () => {
    const { shown } = await backedUp('on-success', 'well')
    const unit = 65536
    expect(shown).toEqual([
      ['memory', 'x', true, 3 * unit],
      ['memory', 'unnamed', true, 2 * unit],
      ['memory', 'unnamed', false, unit],
      ['copy-before-write', 'unnamed', false, 2 * unit],
      ['copy-before-write', 'unnamed', false, size],
    ])
  })

  it('leaves what was written since the start, and what the target lacks', async () => {
    expect((await backedUp('on-success', 'well')).places).toEqual([false, true, false, true])
    expect((await backedUp('always', 'well')).places).toEqual([false, true, false, true])
    expect((await backedUp('never', 'well')).places).toEqual([false, true, true, true])
    expect((await backedUp('on-success', 'cancelled')).places).toEqual([false, true, true, true])
    expect((await backedUp('always', 'cancelled')).places).toEqual([false, true, true, true])
  })

  it('forgets nothing that the target has not on stable storage, whatever its mode', async () => {
    const { graph, node, jobs, faults, ...make } = await setUp()
    await using _ = graph
    await make.target('b', size, true)
    faults.arm({ nth: 1, code: 'EIO', kinds: ['flush'], lasting: true })
    const { bitmap } = await addBitmap(graph, node, { name: 'x' })
    await write(graph, 0, 200_000)
    const before = bitmap.dirtyBytes
    const options = { device: 'a', target: 'b', sync: 'bitmap', bitmap: 'x', bitmapMode: 'always' } as const
    const job = await startBackup(jobs, options)
    await expect(job.finished).rejects.toThrow()
    expect(bitmap.dirtyBytes).toBe(before)
    faults.disarm()
  })
})
